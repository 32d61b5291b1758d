/**
 * Who makes a request. The kernel's header has no supplementary groups; they are read from /proc only when a permission hangs on
 * them (about 20 us), while the caller still waits for its answer. This file is a driver: it may read /proc.
 */
import { readFileSync } from 'node:fs';
import type { Caller } from '../vfs/vfs.js';

export class RequestCaller implements Caller {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
  #groups: readonly number[] | undefined = undefined;

  constructor(uid: number, gid: number, pid: number) {
    this.uid = uid;
    this.gid = gid;
    this.pid = pid;
  }

  get groups(): readonly number[] {
    this.#groups ??= groupsOf(this.pid);
    return this.#groups;
  }
}

/** For what the kernel has decided already, and for its own write-back. */
export const SERVER: Caller = { uid: 0, gid: 0, groups: [], pid: 0 };

/** None for a process that is gone or lives in another namespace. */
function groupsOf(pid: number): readonly number[] {
  if (pid === 0) return [];
  try {
    const line = /^Groups:\s*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return (line?.[1] ?? '').split(/\s+/).filter(Boolean).map(Number);
  } catch {
    return [];
  }
}
