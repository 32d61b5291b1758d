/** Rules 18 and 21 while much is written: read points hold versions back, and slow folding holds the writer back. */
import { PinnedReader } from '../pinned-reader.js';
import { need, type Scenario, type Stage, type Writer } from './stage.js';

const JOURNAL_FILE_BYTES = 128 * 1024;
/** Boxcars are refused at nine files (a soft limit of three, half as much more, twice that), what is on its way then. */
const JOURNAL_BYTES_MAX = 13 * JOURNAL_FILE_BYTES;
const RECORD_BYTES = 600;
const RECORDS_PER_MS = 2;
const ALL = [0, 1, 2, 3, 4, 5];

/** Background work of these nodes takes so long a piece: what two saturated cores leave of it. */
function slowWork(stage: Stage, indexes: readonly number[], pieceMs: number): void {
  for (const { node } of stage.slots(...indexes)) {
    if (node === undefined) throw new Error('slow work needs a node that is up');
    const work = node.store.work.bind(node.store);
    node.store.work = async (pressure) => {
      await node.world.timers.sleep(pieceMs);
      return work(pressure);
    };
  }
}

interface Load {
  /** LSNs that became durable. */
  readonly durable: number;
  readonly journalBytesMax: number;
}

/** Writes at a steady pace, as far as LAL allows, for so long. */
async function load(stage: Stage, writer: Writer, ms: number): Promise<Load> {
  const start = writer.volume.vdl;
  const end = stage.sim.nowMs + ms;
  let journalBytesMax = 0;
  for (let page = 0; stage.sim.nowMs < end;) {
    for (let i = 0; i < RECORDS_PER_MS && writer.volume.hasRoom(1, RECORD_BYTES); i++) {
      writer.sendLarge(page++ % 4, RECORD_BYTES);
    }
    await stage.for(1);
    for (const { node } of stage.cluster.nodes) {
      journalBytesMax = Math.max(journalBytesMax, node?.store.stats.journalBytes ?? 0);
    }
  }
  return { durable: writer.volume.vdl - start, journalBytesMax };
}

const held = (stage: Stage, indexes: readonly number[]): number[] =>
  stage.slots(...indexes).map(({ node }) => node?.backPressure.heldCount ?? -1);

export const LOAD: readonly Scenario[] = [
  {
    rule: 18,
    name: 'a reader far below VDL finds its versions on every node, however much is folded',
    needs: [need('node', 'dropNeeded', 'PAGE-3')],
    async run(stage) {
      const writer = await stage.opened([0, 1, 2, 3]);
      const { view, volume, process } = writer;
      const reader = new PinnedReader(stage.cluster, stage.worldOf(process), volume, view);
      for (let i = 0; i < 200; i++) await stage.commit(writer, [i % 4]);
      await stage.for(3000);
      for (const node of ALL) {
        for (let pageNo = 0; pageNo < 4; pageNo++) {
          stage.expect(await stage.run(reader.read(node, pageNo)), `node ${node + 1} serves it`);
        }
      }
      reader.close();
      await stage.finish(writer);
    },
  },
  {
    rule: 21,
    change: { journalFileBytes: JOURNAL_FILE_BYTES },
    name: 'a writer whom folding cannot follow is held back, and the journal stays bounded',
    needs: [need('node', 'noBackPressure', 'SCRIPT')],
    async run(stage) {
      const writer = await stage.opened([0, 1, 2, 3]);
      const calm = await load(stage, writer, 300);
      stage.expect(
        held(stage, ALL).every((count) => count === 0),
        'nobody waits while it keeps up',
      );
      slowWork(stage, ALL, 150);
      const pressed = await load(stage, writer, 3000);
      stage.expect(pressed.durable > 0, 'it goes on');
      stage.expect(
        pressed.journalBytesMax <= JOURNAL_BYTES_MAX,
        `the journal grew to ${pressed.journalBytesMax} bytes`,
      );
      stage.expect(pressed.durable / 3000 < calm.durable / 300, 'it is slower');
      stage.expect(
        held(stage, ALL).every((count) => count > 0),
        'acknowledgements have waited',
      );
      await stage.finish(writer);
    },
  },
  {
    rule: 21,
    change: { journalFileBytes: JOURNAL_FILE_BYTES },
    name: 'two nodes that fold too slowly look slow, and four of six hide it',
    async run(stage) {
      const writer = await stage.opened([0, 1, 2, 3]);
      const calm = await load(stage, writer, 500);
      slowWork(stage, [0, 1], 150);
      const { durable, journalBytesMax } = await load(stage, writer, 1200);
      stage.expect(durable / 1200 > (0.9 * calm.durable) / 500, `${durable} records are too few`);
      stage.expect(journalBytesMax <= JOURNAL_BYTES_MAX, `${journalBytesMax} bytes of journal`);
      stage.expect(
        held(stage, [0, 1]).every((count) => count > 0),
        'the two have held back',
      );
      stage.expect(
        held(stage, [2, 3, 4, 5]).every((count) => count === 0),
        'the others have not',
      );
      await stage.finish(writer);
    },
  },
];
