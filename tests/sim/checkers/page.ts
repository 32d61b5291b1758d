/** PAGE-1 to PAGE-3: every page is the replay of the surviving log, and readers find what they were promised. */
import { PAGE_BYTES } from '#core/ids.js';
import { SextantError } from '#core/errors.js';
import { Violation } from '../violation.js';
import type { CheckContext, Checker, EngineView } from './checker.js';

export function differenceOf(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < PAGE_BYTES; i++) if (a[i] !== b[i]) return i;
  return -1;
}

const lsnOf = (page: Uint8Array): number =>
  Number(new DataView(page.buffer, page.byteOffset).getBigUint64(0, true));

/** PAGE-1: each surviving record follows the page version that it names. The model's replay checks it. */
export const predecessorsFit: Checker = {
  id: 'PAGE-1',
  opened(_engine, _state, { model }) {
    for (const pageNo of model.pages()) model.page(pageNo, Infinity);
  },
  converged(_engine, { model }) {
    for (const pageNo of model.pages()) model.page(pageNo, Infinity);
  },
};

/** PAGE-2: a page read at R is what the surviving records up to R make of it, byte by byte. */
export const readsAreComplete: Checker = {
  id: 'PAGE-2',
  read(engine, pageNo, readPoint, page, { model }) {
    const expected = model.page(pageNo, readPoint);
    const at = differenceOf(page, expected);
    if (at < 0) return;
    throw new Violation(
      'PAGE-2',
      `${engine.name} reads page ${pageNo} at ${readPoint}: LSN ${lsnOf(page)}, not ${lsnOf(expected)}; byte ${at} differs`,
    );
  },
  converged(engine, context) {
    for (const view of context.nodes) {
      for (const host of view.node?.hosts.values() ?? []) {
        for (const pageNo of context.model.pages())
          checkCopy(engine, view.id, host, pageNo, context);
      }
    }
  },
};

/** One node's copy of a page at the engine's VDL. */
function checkCopy(
  engine: EngineView,
  id: string,
  host: Parameters<NonNullable<Checker['handled']>>[1],
  pageNo: number,
  { model, nodes }: CheckContext,
): void {
  if (Math.floor(pageNo / engine.core.pagesPerPg) !== host.segment.pg) return;
  const store = nodes.find((view) => view.id === id)?.node?.store;
  const page = new Uint8Array(PAGE_BYTES);
  try {
    store?.readPage(host.key, pageNo, engine.core.vdl, page, 0);
  } catch (error) {
    const code = error instanceof SextantError ? error.code : String(error);
    throw new Violation('PAGE-2', `${id} cannot read page ${pageNo}: ${code}`);
  }
  const at = differenceOf(page, model.page(pageNo, engine.core.vdl));
  if (at >= 0) {
    throw new Violation('PAGE-2', `${id} has page ${pageNo} at ${lsnOf(page)}; byte ${at} differs`);
  }
}

/** PAGE-3: a node that has the log of a read point at or above PGMRPL has the page too. */
export const versionsAreKept: Checker = {
  id: 'PAGE-3',
  readRefused(view, { segment }, code, request) {
    if (code !== 'OUT_OF_RANGE' || view.wounded) return;
    if (request.volumeEpoch !== segment.volumeEpoch) return;
    if (request.readPoint < segment.pgmrpl || request.readPoint < segment.logStart) return;
    throw new Violation(
      'PAGE-3',
      `${view.id} has dropped what a read at ${request.readPoint} needs; PGMRPL is ${segment.pgmrpl}`,
    );
  },
};
