/** The hot paths by themselves, with tinybench: redo codec, apply, boxcars, row and key codecs, B+tree. */
import { Bench } from 'tinybench';
import { crc32c } from '#core/bytes/crc32c.js';
import { PAGE_BYTES } from '#core/ids.js';
import { apply } from '#core/redo/apply.js';
import { BoxcarWriter } from '#core/redo/boxcar-writer.js';
import { decodeBoxcar, BOXCAR_HEADER_BYTES } from '#core/redo/boxcar.js';
import { putSet } from '#core/redo/edits.js';
import { setPageLsn } from '#core/redo/page.js';
import { RecordReader } from '#core/redo/record.js';
import { compileKeyMaker } from '#engine/keys/key-maker.js';
import { OID } from '#engine/types/oids.js';
import { typeOf } from '#engine/types/registry.js';
import { TupleCodec } from '#engine/types/tuple.js';
import { benchTree, microLine, type MicroLine } from './btree.js';
import { table } from './statistics.js';

const RECORDS = 32;

function sampleBoxcar(): Uint8Array {
  const edits = new Uint8Array(256);
  const payload = new Uint8Array(60).fill(7);
  const end = putSet(edits, putSet(edits, 0, 100, payload, 0, 12), 4000, payload, 0, 60);
  const writer = new BoxcarWriter();
  for (let lsn = 1; lsn <= RECORDS; lsn++) writer.append(lsn, 1, 7, lsn - 1, edits, 0, end);
  return writer.finish({
    volume: 1,
    pg: 0,
    volumeEpoch: 1,
    membershipEpoch: 1,
    backLink: 0,
    vdl: 0,
    pgmrpl: 0,
  });
}

function addRedo(bench: Bench): void {
  const boxcar = sampleBoxcar();
  const reader = new RecordReader();
  const page = new Uint8Array(PAGE_BYTES);
  const view = new DataView(page.buffer);
  const small = boxcar.subarray(0, 200);
  bench.add('crc32c of 200 bytes', () => void crc32c(small));
  bench.add('crc32c of a page', () => void crc32c(page));
  bench.add(`boxcar of ${RECORDS} records: encode`, () => void sampleBoxcar());
  bench.add(`boxcar of ${RECORDS} records: check`, () => void decodeBoxcar(boxcar));
  bench.add(`boxcar of ${RECORDS} records: apply`, () => {
    setPageLsn(view, 0, 0);
    reader.reset(boxcar, BOXCAR_HEADER_BYTES, boxcar.length, 1);
    while (reader.next()) apply(page, view, 0, reader);
  });
}

function addRows(bench: Bench): void {
  const codec = new TupleCodec(
    [OID.int4, OID.int4, OID.int4, OID.bpchar].map((oid) => ({ type: typeOf(oid) })),
  );
  const tuple = new Uint8Array(PAGE_BYTES);
  const target = new Uint8Array(PAGE_BYTES);
  const row = [12_345, 1, -500, ' '.repeat(84)];
  const end = codec.encode(row, tuple);
  const maker = compileKeyMaker(codec, [
    { type: typeOf(OID.int4), descending: false, nullsFirst: false, column: 0 },
  ]);
  bench.add('row of pgbench_accounts: encode', () => void codec.encode(row, target));
  bench.add('row of pgbench_accounts: one column', () => void codec.decode(tuple, 0, end, 2));
  bench.add(
    'row of pgbench_accounts: patch one column',
    () => void codec.patch(tuple, 0, end, [2], [77], target),
  );
  bench.add('int4 key from a row', () => void maker.make(tuple, 0, end, target));
}

/** Prints a table; returns its lines. */
export async function benchMicro(): Promise<MicroLine[]> {
  const bench = new Bench({ time: 300, warmupTime: 100 });
  addRedo(bench);
  addRows(bench);
  await bench.run();
  const lines = [...bench.tasks.map((task) => microLine(task, 1)), ...(await benchTree())];
  process.stdout.write(
    `${table(
      ['operation', 'median ns', 'p99 ns'],
      lines.map((line) => [line.name, line.medianNs, line.p99Ns]),
    )}\n`,
  );
  return lines;
}
