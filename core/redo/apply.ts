/**
 * apply(): the only way in which a page takes a redo record.
 *
 * PAGE-1: it runs only on the page version that the record names as its predecessor; a FORMAT record
 * needs no base (rule 28 of the protocol: its link names the last version all the same).
 */
import { SextantError } from '../errors.js';
import { applyEdits } from './edits.js';
import { pageLsn, setPageLsn } from './page.js';
import { FLAG_FORMAT, type RecordReader } from './record.js';

/**
 * Applies the reader's current record to the page at byte `base` of `page`; `view` covers the same
 * bytes. Throws CORRUPTION, the page unchanged, when its LSN is not the record's predecessor.
 */
export function apply(page: Uint8Array, view: DataView, base: number, record: RecordReader): void {
  if ((record.flags & FLAG_FORMAT) === 0) {
    const lsn = pageLsn(view, base);
    if (lsn !== record.prevPageLsn) {
      throw new SextantError(
        'CORRUPTION',
        `page ${record.pageNo} is at LSN ${lsn}, record ${record.lsn} follows ${record.prevPageLsn}`,
      );
    }
  }
  applyEdits(page, base, record.bytes, record.editsStart, record.end);
  setPageLsn(view, base, record.lsn);
}
