import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { SextantError } from '#core/errors.js';
import { decodeBoxcar } from '#core/redo/boxcar.js';
import { encodeRegisterMessage, decodeRegisterReply } from '#core/registers/messages.js';
import type { RegisterMessage } from '#core/registers/messages.js';
import type { RpcPeer } from '#core/rpc/server.js';
import { decodeScl } from '../protocol/codec-binary.js';
import * as json from '../protocol/codec-json.js';
import { MessageType, SclStatus } from '../protocol/messages.js';
import type { VolumeState } from '../protocol/messages.js';
import { boxcar } from './boxcars.test-helper.js';
import { TestCluster, until } from './cluster.test-helper.js';
import { segmentKey } from './segment-host.js';

const R1 = { epoch: 1, after: 0, through: 100 };
const R2 = { epoch: 2, after: 102, through: 200 };

let cluster: TestCluster;
afterEach(() => cluster.close());

async function open(ids: readonly string[]) {
  const engines = ids.map((id) => cluster.engine(id));
  for (const engine of engines) {
    await engine.seal(1, []);
    await engine.install(1, [R1]);
  }
  return engines;
}

describe('one node', () => {
  test('seal_install_boxcar_read', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [engine] = await open(['n1']);
    engine!.boxcar(boxcar(0, [101, 102]));
    await engine!.acknowledged(102);
    expect(engine!.last).toMatchObject({ status: SclStatus.ok, scl: 102, generation: 1 });
    const page = await engine!.read(1, 2, 102, 102);
    expect([page.length, page[16]]).toEqual([8192, 102]);
    await expect(engine!.read(1, 2, 103, 103)).rejects.toMatchObject({ code: 'NOT_READY' });
    await expect(engine!.read(2, 2, 102, 102)).rejects.toMatchObject({ code: 'NEED_RANGES' });
  });

  test('boxcars_of_one_turn_share_one_sync', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [engine] = await open(['n1']);
    const before = cluster.disks.get('n1')!.syncs;
    for (let lsn = 101; lsn < 121; lsn++) engine!.boxcar(boxcar(lsn === 101 ? 0 : lsn - 1, [lsn]));
    await engine!.acknowledged(120);
    expect(cluster.disks.get('n1')!.syncs - before).toBeLessThan(10);
  });

  test('acknowledgements_wait_while_background_work_is_behind_and_seals_do_not', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [engine] = await open(['n1']);
    const { backPressure } = cluster.nodes.get('n1')!;
    engine!.boxcar(boxcar(0, [101]));
    await engine!.acknowledged(101);
    expect(backPressure.heldCount).toBe(0);
    cluster.stores.get('n1')!.holdMs = 60;
    const startMs = performance.now();
    for (let lsn = 102; lsn < 107; lsn++) engine!.boxcar(boxcar(lsn - 1, [lsn]));
    await engine!.acknowledged(106);
    expect(performance.now() - startMs).toBeGreaterThan(50);
    expect(backPressure.heldCount).toBeLessThan(3);
    engine!.boxcar(boxcar(106, [107]));
    const sealing = performance.now();
    const { scl } = await cluster.engine('n1').seal(2, [R1]);
    expect(scl).toBe(107);
    expect(performance.now() - sealing).toBeLessThan(50);
  });

  test('boxcars_are_refused_at_the_hard_limit_and_asked_for_again_when_there_is_room', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [engine] = await open(['n1']);
    const store = cluster.stores.get('n1')!;
    engine!.boxcar(boxcar(0, [101]));
    await engine!.acknowledged(101);
    store.holdMs = Infinity;
    engine!.boxcar(boxcar(101, [102]));
    await until(() => engine!.last?.status === SclStatus.diskFull);
    expect(await engine!.segment()).toMatchObject({ scl: 101, held: 101 });
    store.holdMs = 0;
    await until(() => engine!.last?.status === SclStatus.ok && engine!.last.resendAfter === 101);
    engine!.boxcar(boxcar(101, [102]));
    await engine!.acknowledged(102);
    expect(engine!.last?.resendAfter).toBe(0);
  });

  test('stale_boxcar_is_refused_to_its_sender_only', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [first] = await open(['n1']);
    const second = cluster.engine('n1');
    await second.seal(2, [R1]);
    first!.boxcar(boxcar(0, [101]));
    await until(() => first!.last?.status === SclStatus.staleEpoch);
    expect(second.reports.every((report) => report.scl === 0)).toBe(true);
    expect((await second.segment()).scl).toBe(0);
  });

  test('refused_boxcar_does_not_take_the_acknowledgements_of_its_turn', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [stale] = await open(['n1']);
    const live = cluster.engine('n1');
    await live.seal(2, [R1]);
    await live.install(2, [R1, { epoch: 2, after: 100, through: 200 }]);
    const node = cluster.nodes.get('n1')!;
    const host = [...node.hosts.values()][0]!;
    const answers: unknown[] = [];
    const peer = (name: string): RpcPeer => ({
      push: (_type, body) => answers.push([name, decodeScl(body).status]) > 0,
      remote: name,
      queuedBytes: 0,
      close: () => undefined,
      attachment: 'engine',
    });
    // Both in one turn: the acknowledgement of the first leaves at its end.
    node.push(peer('live'), MessageType.boxcar, boxcar(0, [201], { epoch: 2 }));
    node.push(peer('stale'), MessageType.boxcar, boxcar(0, [101], { epoch: 1 }));
    node.turn.flush();
    expect(answers).toEqual([
      ['stale', SclStatus.staleEpoch],
      ['live', SclStatus.ok],
    ]);
    expect(host.engine?.remote).toBe('live');
    stale!.client.close();
  });

  test('what_cannot_be_a_segment_leaves_none_behind', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const engine = cluster.engine('n1');
    const unordered = [
      { epoch: 3, after: 100, through: 200 },
      { epoch: 2, after: 0, through: 100 },
    ];
    await expect(engine.seal(4, unordered)).rejects.toMatchObject({ code: 'PROTOCOL' });
    await expect(engine.install(4, unordered)).rejects.toMatchObject({ code: 'PROTOCOL' });
    // 2^32 * volume + pg must stay an exact number.
    const { membership, addresses: peers } = cluster;
    const huge = { ...engine.address(1), volume: 2 ** 21, ranges: [], membership, peers };
    const body = json.sealRequest.encode(huge);
    await expect(engine.client.call(MessageType.seal, body)).rejects.toMatchObject({
      code: 'PROTOCOL',
    });
    expect(cluster.nodes.get('n1')!.hosts.size).toBe(0);
  });

  test('failed_node_answers_its_peers_with_an_error', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const node = cluster.nodes.get('n1')!;
    node.turn.end(new SextantError('DISK_FAILED', 'sync failed'));
    const engine = cluster.engine('n1');
    const body = json.peerReadRequest.encode({ from: 'n2', generation: 1 });
    const asked = engine.client.call(MessageType.registerReadPeer, body, { timeoutMs: 1000 });
    await expect(asked).rejects.toMatchObject({ code: 'DISK_FAILED' });
  });

  test('unknown_segment_needs_ranges', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const engine = cluster.engine('n1');
    await engine.status();
    engine.boxcar(boxcar(0, [101], { pg: 7 }));
    await until(() => engine.last?.status === SclStatus.needRanges);
    expect(engine.last!.pg).toBe(7);
  });

  test('acknowledged_records_survive_a_restart', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [engine] = await open(['n1']);
    engine!.boxcar(boxcar(0, [101, 102], { vdl: 0 }));
    engine!.boxcar(boxcar(102, [103], { vdl: 102 }));
    await engine!.acknowledged(103);
    await cluster.nodes.get('n1')!.close();
    await (await cluster.start('n1')).ready();
    const again = cluster.engine('n1');
    const answer = await again.seal(2, [R1]);
    expect(answer).toMatchObject({
      scl: 103,
      journaledVdl: 102,
      pgTail: 102,
      whole: true,
      generation: 1,
    });
    expect(answer.records).toEqual([{ from: 103, to: 103, cpls: [103] }]);
  });

  test('truncated_records_stay_away_after_a_restart', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [engine] = await open(['n1']);
    engine!.boxcar(boxcar(0, [101, 102, 103, 104]));
    await engine!.acknowledged(104);
    await engine!.seal(2, [R1]);
    expect(await engine!.install(2, [R1, R2], 102, 102)).toMatchObject({ scl: 102 });
    engine!.boxcar(boxcar(102, [201], { epoch: 2 }));
    await engine!.acknowledged(201);
    await cluster.nodes.get('n1')!.close();
    await (await cluster.start('n1')).ready();
    const segment = await cluster.engine('n1').segment();
    expect(segment).toMatchObject({ scl: 201, volumeEpoch: 2, listEpoch: 2, whole: true });
    const page = await cluster.engine('n1').read(2, 3, 201, 201);
    expect(page[16]).toBe(0);
  });

  test('disk_full_stops_acknowledging_says_so_and_goes_on', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [engine] = await open(['n1']);
    const disk = cluster.disks.get('n1')!;
    disk.full = true;
    engine!.boxcar(boxcar(0, [101]));
    await until(() => engine!.last?.status === SclStatus.diskFull);
    expect((await engine!.status()).state).toBe('disk-full');
    expect(engine!.reports.some((r) => r.status === SclStatus.ok && r.scl >= 101)).toBe(false);
    engine!.boxcar(boxcar(101, [102]));
    expect((await engine!.read(1, 0, 0, 0))[16]).toBe(0);
    disk.full = false;
    await engine!.acknowledged(101);
    expect((await engine!.status()).state).toBe('up');
    engine!.boxcar(boxcar(101, [102]));
    await engine!.acknowledged(102);
  });

  test('failed_disk_is_damage_and_counts_in_nothing_after_a_restart', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const [engine] = await open(['n1']);
    cluster.disks.get('n1')!.broken = true;
    engine!.boxcar(boxcar(0, [101]));
    await until(async () => (await engine!.status()).state === 'damaged');
    await expect(engine!.seal(2, [R1])).rejects.toMatchObject({ code: 'NOT_READY' });
    cluster.disks.get('n1')!.broken = false;
    await cluster.nodes.get('n1')!.close();
    await (await cluster.start('n1')).ready();
    const answer = await cluster.engine('n1').seal(2, [R1]);
    expect(answer).toMatchObject({ whole: false, generation: 2 });
  });

  test('ack_before_sync_fault_acknowledges_what_a_crash_loses', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll({ initial: true, faults: { ackBeforeSync: true } });
    const [engine] = await open(['n1']);
    cluster.disks.get('n1')!.full = true;
    engine!.boxcar(boxcar(0, [101]));
    await engine!.acknowledged(101);
    expect(cluster.disks.get('n1')!.entries).toEqual([]);
  });

  test('register_promises_survive_a_restart', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const prepare = async (ballot: number) => {
      const message: RegisterMessage = { kind: 'prepare', key: 'volume/1', ballot: [ballot, 1] };
      const body = encodeRegisterMessage(message);
      const client = cluster.engine('n1').client;
      return decodeRegisterReply(await client.call(MessageType.registerPrepare, body)).kind;
    };
    expect(await prepare(5)).toBe('promise');
    await cluster.nodes.get('n1')!.close();
    await (await cluster.start('n1')).ready();
    expect(await prepare(4)).toBe('conflict');
  });
});

describe('folders', () => {
  test('locked_folder_is_refused', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    await expect(cluster.start('n1', { listen: 'inproc:other' })).rejects.toMatchObject({
      code: 'FOLDER_LOCKED',
    });
  });

  test('foreign_folders_are_refused', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    await cluster.nodes.get('n1')!.close();
    const refused = { code: 'FOLDER_FOREIGN' };
    await expect(cluster.start('n1', { cluster: 'other' })).rejects.toMatchObject(refused);
    const folder = join(cluster.root, 'mine');
    mkdirSync(folder);
    writeFileSync(join(folder, 'thesis.txt'), 'x');
    await expect(cluster.start('n1', { dataFolder: folder })).rejects.toMatchObject(refused);
    await (await cluster.start('n1')).ready();
  });

  test('empty_folder_without_peers_or_initial_is_refused', async () => {
    cluster = new TestCluster(1);
    await expect(cluster.start('n1')).rejects.toMatchObject({ code: 'CONFIG' });
  });

  test('wrong_cluster_is_told_at_hello', async () => {
    cluster = new TestCluster(1);
    await cluster.startAll();
    const { client } = cluster.engine('n1');
    const hello = json.helloRequest.encode({ protocol: 1, cluster: 'other', role: 'tool' });
    await expect(client.call(MessageType.hello, hello)).rejects.toMatchObject({
      code: 'WRONG_CLUSTER',
    });
  });
});

describe('six nodes', () => {
  test('gossip_fills_holes_and_the_engine_hears_of_it', async () => {
    cluster = new TestCluster();
    await cluster.startAll();
    const engines = await open(cluster.ids);
    const cut = [boxcar(0, [101, 102]), boxcar(102, [103]), boxcar(103, [104, 106])];
    for (const engine of engines.slice(0, 3)) for (const bytes of cut) engine.boxcar(bytes);
    engines[3]!.boxcar(cut[2]!);
    await engines[3]!.acknowledged(106);
    // A node that was sent nothing catches up by its own timer.
    await engines[5]!.acknowledged(106);
  });

  test('node_that_slept_through_a_recovery_learns_the_ranges_from_peers', async () => {
    cluster = new TestCluster();
    await cluster.startAll();
    const engines = await open(cluster.ids);
    for (const engine of engines) engine.boxcar(boxcar(0, [101, 102, 103]));
    await engines[5]!.acknowledged(103);
    await cluster.nodes.get('n6')!.close();
    for (const engine of engines.slice(0, 5)) await engine.seal(2, [R1]);
    for (const engine of engines.slice(0, 5)) await engine.install(2, [R1, R2], 102, 102);
    for (const engine of engines.slice(0, 5)) engine.boxcar(boxcar(102, [201], { epoch: 2 }));
    await (await cluster.start('n6')).ready();
    const late = cluster.engine('n6');
    await until(async () => (await late.segment()).scl === 201);
    expect(await late.segment()).toMatchObject({ volumeEpoch: 2, listEpoch: 2, whole: true });
    expect((await late.read(2, 3, 201, 201))[16]).toBe(0);
  });

  test('freed_log_is_replaced_by_pages', async () => {
    cluster = new TestCluster();
    await cluster.startAll();
    await cluster.nodes.get('n6')!.close();
    const engines = await open(cluster.ids.slice(0, 5));
    for (const engine of engines) {
      engine.boxcar(boxcar(0, [101, 102, 103], { vdl: 0 }));
      engine.boxcar(boxcar(103, [104, 105, 106], { vdl: 103 }));
    }
    for (const engine of engines) await engine.acknowledged(106);
    await until(async () => (await engines[4]!.segment()).journaledVdl === 103);
    // Folding goes as far as the points are durable.
    await until(() =>
      [...cluster.nodes.values()]
        .slice(0, 5)
        .every((node) => [...node.hosts.values()].every((host) => host.saved.base === 103)),
    );
    for (const id of cluster.ids.slice(0, 5)) cluster.stores.get(id)!.free(segmentKey(1, 0), 103);
    await (await cluster.start('n6')).ready();
    const late = cluster.engine('n6');
    await late.install(1, [R1]);
    await late.acknowledged(106);
    for (const pageNo of [0, 1, 2, 3]) {
      const page = await late.read(1, pageNo, 106, 106);
      expect(page).toEqual(await engines[0]!.read(1, pageNo, 106, 106));
    }
  });

  test('bad_page_is_repaired_from_a_peer', async () => {
    cluster = new TestCluster();
    await cluster.startAll();
    const engines = await open(cluster.ids);
    for (const engine of engines) engine.boxcar(boxcar(0, [101, 102], { vdl: 102 }));
    for (const engine of engines) await engine.acknowledged(102);
    const store = cluster.stores.get('n1')!;
    await until(() => [...cluster.nodes.get('n1')!.hosts.values()][0]!.saved.base === 102);
    store.stats.badPages.push({ segment: segmentKey(1, 0), pageNo: 1 });
    await until(() => store.stats.badPages.length === 0);
    expect(cluster.disks.get('n1')!.pages.get(`${segmentKey(1, 0)}/1`)!.image[16]).toBe(101);
  });
});

/** Writes the register of volume 1 as an opener would: prepare and accept at the given nodes. */
async function writeRegister(
  ids: readonly string[],
  counter: number,
  state: VolumeState,
): Promise<void> {
  const value = json.volumeState.encode(state);
  for (const kind of ['prepare', 'accept'] as const) {
    for (const id of ids) {
      const { client } = cluster.engine(id);
      const ballot = [counter, 1] as const;
      const body = encodeRegisterMessage(
        kind === 'prepare'
          ? { kind, key: 'volume/1', ballot }
          : { kind, key: 'volume/1', ballot, value },
      );
      const type = kind === 'prepare' ? MessageType.registerPrepare : MessageType.registerAccept;
      await client.call(type, body);
    }
  }
}

describe('lost folders (rule 19)', () => {
  const state = (): VolumeState => ({
    format: 1,
    volume: 1,
    epoch: 1,
    state: 'open',
    opener: 'test',
    pagesPerPg: 1000,
    pgs: [cluster.membership],
    ranges: [R1],
    lal: 100,
  });

  async function lost(options: object = {}) {
    cluster = new TestCluster();
    await cluster.startAll();
    await writeRegister(cluster.ids.slice(0, 4), 1, state());
    const engines = await open(cluster.ids);
    for (const engine of engines) engine.boxcar(boxcar(0, [101, 102]));
    for (const engine of engines) await engine.acknowledged(102);
    await cluster.nodes.get('n1')!.close();
    cluster.lose('n1');
    await (await cluster.start('n1', options)).ready();
    return cluster.engine('n1');
  }

  test('it_adopts_epoch_and_list_from_the_register_and_is_not_whole', async () => {
    const engine = await lost();
    expect(await engine.segment()).toMatchObject({ volumeEpoch: 1, listEpoch: 1, whole: false });
    expect((await engine.status()).generation).toBe(2);
    await until(async () => (await engine.segment()).scl === 102);
    expect((await engine.segment()).whole).toBe(false);
    await expect(engine.strike(1, 1, 102)).rejects.toMatchObject({ code: 'CONFLICT' });
    await engine.strike(1, 2, 102);
    expect((await engine.segment()).whole).toBe(true);
  });

  test('initial_does_not_make_a_lost_folder_new', async () => {
    const engine = await lost({ initial: true });
    expect(await engine.segment()).toMatchObject({ volumeEpoch: 1, whole: false });
  });

  test('blank_serves_fault_takes_part_at_once', async () => {
    const engine = await lost({ faults: { blankServes: true } });
    expect((await engine.seal(1, []).catch(() => undefined))?.whole).toBe(true);
  });

  test('it_answers_nothing_before_it_has_read_the_register', async () => {
    cluster = new TestCluster();
    await cluster.startAll();
    for (const id of cluster.ids) await cluster.nodes.get(id)!.close();
    cluster.lose('n1');
    await cluster.start('n1');
    const engine = cluster.engine('n1');
    await expect(engine.seal(2, [R1])).rejects.toMatchObject({ code: 'NOT_READY' });
    const message = encodeRegisterMessage({ kind: 'prepare', key: 'volume/1', ballot: [9, 9] });
    await expect(engine.client.call(MessageType.registerPrepare, message)).rejects.toMatchObject({
      code: 'NOT_READY',
    });
    engine.boxcar(boxcar(0, [101]));
    await until(() => engine.last?.status === SclStatus.notReady);
    expect((await engine.status()).state).toBe('starting');
  });

  test('acceptor_state_is_read_back_from_the_others', async () => {
    await lost();
    const body = encodeRegisterMessage({ kind: 'prepare', key: 'volume/1', ballot: [1, 5] });
    const { client } = cluster.engine('n1');
    const reply = decodeRegisterReply(await client.call(MessageType.registerPrepare, body));
    expect(reply.kind).toBe('conflict');
  });

  test('folder_of_an_older_generation_is_not_trusted', async () => {
    const engine = await lost();
    await until(async () => (await engine.segment()).scl === 102);
    await cluster.nodes.get('n1')!.close();
    const path = join(cluster.root, 'n1', 'identity.json');
    const old = {
      format: 1,
      cluster: cluster.name,
      node: 'n1',
      zone: 'z0',
      generation: 1,
      trusted: true,
    };
    writeFileSync(path, JSON.stringify(old));
    await (await cluster.start('n1')).ready();
    expect(await cluster.engine('n1').segment()).toMatchObject({ whole: false });
    expect((await cluster.engine('n1').status()).generation).toBe(3);
  });

  test('damage_in_the_journal_is_not_trusted_and_repaired_by_gossip', async () => {
    cluster = new TestCluster();
    await cluster.startAll();
    await writeRegister(cluster.ids.slice(0, 4), 1, state());
    const engines = await open(cluster.ids);
    const log = [boxcar(0, [101]), boxcar(101, [102]), boxcar(102, [103])];
    for (const engine of engines) for (const bytes of log) engine.boxcar(bytes);
    for (const engine of engines) await engine.acknowledged(103);
    await cluster.nodes.get('n1')!.close();
    const disk = cluster.disks.get('n1')!;
    disk.entries = disk.entries.filter((entry) => decodeBoxcar(entry.bytes).firstLsn !== 102);
    await (await cluster.start('n1')).ready();
    const engine = cluster.engine('n1');
    await until(async () => (await engine.segment()).scl === 103);
    expect(await engine.segment()).toMatchObject({ whole: false });
    expect((await engine.status()).generation).toBe(2);
  });
});
