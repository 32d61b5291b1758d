/** A memory file system mounted by a process of its own, which tests may kill. `node mount-server.js MOUNTPOINT` prints "ready"; SIGTERM unmounts. */
import { mount } from '#fs-frontend/fuse/mount.js';
import { MemoryVfs } from './memory-vfs.js';

const vfs = new MemoryVfs();
const mounted = await mount(vfs, process.argv[2] ?? '');
process.on('SIGTERM', () => void mounted.close());
process.stdout.write('ready\n');
await mounted.ended;
await mounted.close();
await vfs.close();
