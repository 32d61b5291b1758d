/** The commands of the file system: `mount` and `fs ...`. */
import { type Command, Option } from 'commander';
import { SextantError } from '#core/errors.js';
import { configOption, dataOption, logLevel } from './cluster-options.js';
import { type FilesOptions, diskOption } from './files-options.js';
import type { MountCommand } from './mount.js';

export function addFileCommands(program: Command): void {
  program
    .command('mount')
    .description('mount the file system of a cluster on a folder, until told to stop (SIGTERM, ^C)')
    .argument('<mountpoint>', 'a folder')
    .addOption(dataOption())
    .addOption(configOption())
    .addOption(diskOption())
    .addOption(logLevel().default('warn'))
    .addHelpText('after', '\nExample:\n  sextant mount /mnt/files --data ./sextant-data')
    .action(async (mountPoint: string, options: MountCommand) => {
      const { runMount } = await import('./mount.js');
      await runMount(mountPoint, options);
    });

  const files = program.command('fs').description('what is in the file system of a cluster');
  const command = (name: string, description: string): Command =>
    files
      .command(name)
      .description(description)
      .addOption(dataOption())
      .addOption(configOption())
      .addOption(diskOption())
      .option('--json', 'machine-readable', false);

  command('mkfs', 'make a disk with an empty file system')
    .addOption(
      new Option('--data-copies <n>', 'copies of file content: 3, one a zone, or 6')
        .choices(['3', '6'])
        .default('3'),
    )
    .addHelpText('after', '\nExample:\n  sextant fs mkfs --disk scratch --data-copies 6')
    .action(async (options: FilesOptions & { dataCopies: '3' | '6'; json: boolean }) => {
      const { runMakeFiles } = await import('./make-files.js');
      await runMakeFiles(options);
    });
  files.action(() => {
    throw new SextantError('CONFIG', 'say what to do: sextant fs --help lists it');
  });
}
