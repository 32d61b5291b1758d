/**
 * Where a key is, or would be, in a tree, and the way there. An object of the caller's, used again. It holds
 * until the thread is given back or the tree is edited; after an edit `pageNo` and `slot` name the cell that was
 * inserted or spliced.
 */
export const DEPTH_MAX = 16;
export const PATH_UNKNOWN = -1;

export class Place {
  /** The key is there; else `slot` is where it would go. */
  found = false;
  /** The leaf. */
  pageNo = 0;
  slot = 0;
  /** Byte offset of the leaf in the cache. */
  base = 0;
  /** Of a key that was found: absolute offsets in the cache's bytes. */
  keyStart = 0;
  keyEnd = 0;
  valueStart = 0;
  valueEnd = 0;

  /** Inner nodes above the leaf, or PATH_UNKNOWN when it was reached by a short cut. */
  depth = PATH_UNKNOWN;
  /** pages[0] is the root, pages[depth] the leaf; slots[d] is the child that the path takes. */
  readonly pages = new Uint32Array(DEPTH_MAX + 1);
  readonly slots = new Int32Array(DEPTH_MAX + 1);
}
