/** `sextant fs mkfs`: a virtual disk with an empty file system. */
import { realWorld } from '#core/world/real/real-world.js';
import { makeFiles } from '#fs-frontend/open.js';
import { type FilesOptions, filesClusterOf } from './files-options.js';

export async function runMakeFiles(
  options: FilesOptions & { readonly dataCopies: '3' | '6'; readonly json: boolean },
): Promise<void> {
  const cluster = filesClusterOf(options);
  const dataCopies = options.dataCopies === '6' ? 6 : 3;
  await makeFiles(realWorld({ log: 'warn' }), cluster, { dataCopies });
  const { disk } = options;
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ disk, dataCopies })}\n`
      : `made a file system on disk ${disk}, ${dataCopies} copies of data\n`,
  );
}
