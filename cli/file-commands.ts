/** The commands of the file system: `mount` and `fs ...`. */
import { type Command, Option } from 'commander';
import { SextantError } from '#core/errors.js';
import { configOption, dataOption, logLevel } from './cluster-options.js';
import type { FileCommand } from './file-shell.js';
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

  const files = program
    .command('fs')
    .description('the file system of a cluster: files, folders, space, checks')
    .action(() => {
      throw new SextantError('CONFIG', 'say what to do: sextant fs --help lists it');
    });
  addMaking(files);
  addLooking(files);
  addChanging(files);
}

function command(files: Command, usage: string, description: string, example: string): Command {
  return files
    .command(usage)
    .description(description)
    .addOption(dataOption())
    .addOption(configOption())
    .addOption(diskOption())
    .option('--json', 'machine-readable', false)
    .addHelpText('after', `\nExample:\n  sextant fs ${example}`);
}

function addMaking(files: Command): void {
  command(files, 'mkfs', 'make a disk with an empty file system', 'mkfs --disk scratch')
    .addOption(
      new Option('--data-copies <n>', 'copies of file content: 3, one a zone, or 6')
        .choices(['3', '6'])
        .default('3'),
    )
    .action(async (options: FilesOptions & { dataCopies: '3' | '6'; json: boolean }) => {
      const { runMakeFiles } = await import('./make-files.js');
      await runMakeFiles(options);
    });
  command(files, 'check', 'is everything on a disk as it should be; exits 1 when not', 'check')
    .option('--repair', 'put right what can be; nobody may have it mounted', false)
    .action(async (options: FileCommand & { repair: boolean }) => {
      const { runCheck } = await import('./file-check.js');
      await runCheck(options);
    });
}

function addLooking(files: Command): void {
  command(files, 'ls [paths...]', 'what is in folders; default /', 'ls -l /notes')
    .option('-l, --long', 'with type, mode, links, owner, size and time', false)
    .option('-r, --recursive', 'with everything below', false)
    .action(async (paths: string[], options: FileCommand & { long: boolean; recursive: boolean }) =>
      (await import('./file-listing.js')).runLs(paths, options),
    );
  command(
    files,
    'cat <paths...>',
    'content of files, on standard output',
    'cat /notes/today',
  ).action(async (paths: string[], options: FileCommand) =>
    (await import('./file-listing.js')).runCat(paths, options),
  );
  command(files, 'stat <paths...>', 'attributes of files and folders', 'stat /notes').action(
    async (paths: string[], options: FileCommand) =>
      (await import('./file-listing.js')).runStat(paths, options),
  );
  command(files, 'df', 'space of the disk', 'df --json').action(async (options: FileCommand) =>
    (await import('./file-listing.js')).runDf(options),
  );
  command(files, 'du [paths...]', 'space of everything below; default /', 'du /notes').action(
    async (paths: string[], options: FileCommand) =>
      (await import('./file-listing.js')).runDu(paths, options),
  );
}

function addChanging(files: Command): void {
  const copies = 'copy files and folders; local:PATH is a path of this machine';
  command(files, 'cp <paths...>', copies, 'cp -r local:./notes /backup')
    .option('-r, --recursive', 'folders, with everything below', false)
    .action(async (paths: string[], options: FileCommand & { recursive: boolean }) =>
      (await import('./file-copy.js')).runCp(paths, options),
    );
  command(files, 'mv <paths...>', 'rename, or move into a folder', 'mv /a /b /folder').action(
    async (paths: string[], options: FileCommand) =>
      (await import('./file-changes.js')).runMv(paths, options),
  );
  command(files, 'rm <paths...>', 'remove', 'rm -r /notes')
    .option('-r, --recursive', 'folders, with everything below', false)
    .option('-f, --force', 'what is not there is no error', false)
    .action(
      async (paths: string[], options: FileCommand & { recursive: boolean; force: boolean }) =>
        (await import('./file-changes.js')).runRm(paths, options),
    );
  command(files, 'mkdir <paths...>', 'make folders', 'mkdir -p /notes/2024')
    .option('-p, --parents', 'with those above', false)
    .action(async (paths: string[], options: FileCommand & { parents: boolean }) =>
      (await import('./file-changes.js')).runMkdir(paths, options),
    );
}
