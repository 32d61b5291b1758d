/** What a request costs through the kernel, over memory: printed, and held to bounds that only a fault exceeds. */
import { afterEach, describe, expect, it } from 'vitest';
import { hasTool } from '../process/tools.js';
import { MemoryVfs } from './memory-vfs.js';
import { Stage, canMount, python } from './mounting.js';

const stage = new Stage();
const able = canMount() && hasTool('python3');

describe.skipIf(!able)('the cost of a request', () => {
  afterEach(() => stage.clear());

  it('GETATTR, create and close, cached reads', async () => {
    const bare = await stage.mount(new MemoryVfs({ validMs: 0 }));
    const stats = `
import os,sys,time
p=sys.argv[1]
for n in (4000,8000):
  t=time.perf_counter()
  for i in range(n): os.stat(p)
  t=time.perf_counter()-t
print(t/n*1e6)`;
    const getattrUs = Number(await python(stats, bare.mountPoint));
    const cached = await stage.mount(new MemoryVfs());
    const files = `
import os,sys,time
os.chdir(sys.argv[1]); n=3000; data=b'x'*4096
t=time.perf_counter()
for i in range(n):
  f=os.open('f%d'%i,os.O_CREAT|os.O_WRONLY); os.write(f,data); os.close(f)
made=n/(time.perf_counter()-t)
f=os.open('f7',os.O_RDONLY)
t=time.perf_counter()
for i in range(20000): os.pread(f,4096,0)
print(made,(time.perf_counter()-t)/20000*1e6)`;
    const [made = 0, readUs = 0] = (await python(files, cached.mountPoint)).split(' ').map(Number);
    process.stderr.write(
      `mount: GETATTR ${getattrUs.toFixed(1)} us, create+write+close ${made.toFixed(0)}/s, 4 KiB cached read ${readUs.toFixed(2)} us\n`,
    );
    expect(getattrUs).toBeLessThan(2000);
    expect(made).toBeGreaterThan(50);
    expect(cached.statistics().requests['read']).toBeLessThan(20);
  });
});
