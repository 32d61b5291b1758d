/** `npm run bench -- <what>`: prints a table, and with --json FILE writes the figures for machines. */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { Command } from 'commander';
import { benchCommit } from './commit.js';
import { benchDisk } from './disk.js';
import { benchLocks } from './locks.js';
import { benchMicro } from './micro.js';
import { benchRestart } from './restart.js';
import { benchSoak } from './soak.js';
import { benchTpcb } from './tpcb.js';

const numbers = (text: string): number[] => text.split(',').map(Number);

const program = new Command('bench')
  .description(
    'Measures Sextant, beside its peers where there is one, in alternating rounds of one run.',
  )
  .option('--json <file>', 'write the figures as JSON');

function report(name: string, figures: unknown): void {
  const { json } = program.opts<{ json?: string }>();
  if (json === undefined) return;
  const machine = { cores: cpus().length, node: process.version };
  writeFileSync(json, `${JSON.stringify({ bench: name, machine, figures }, null, 2)}\n`);
}

program
  .command('tpcb')
  .description('pgbench TPC-B-like, against PostgreSQL with five quorum standbys')
  .option('--scale <n>', 'pgbench scale', Number, 10)
  .option('--seconds <n>', 'length of a round', Number, 15)
  .option('--rounds <n>', 'alternating rounds', Number, 5)
  .option('--clients <list>', 'numbers of clients', numbers, [32, 1])
  .option('--no-peer', 'Sextant alone')
  .action(
    async (options: {
      scale: number;
      seconds: number;
      rounds: number;
      clients: number[];
      peer: boolean;
    }) => {
      report('tpcb', await benchTpcb(options));
    },
  );
program
  .command('commit')
  .description(
    'latency of a one-row insert through the engine with six node processes, against quorum-floor',
  )
  .option('--commits <n>', 'commits in a round', Number, 3000)
  .option('--rounds <n>', 'alternating rounds', Number, 7)
  .action(async (options: { commits: number; rounds: number }) =>
    report('commit', await benchCommit(options)),
  );
program
  .command('disk')
  .description('the virtual disk over six node processes, against the disk of the machine')
  .option('--megabytes <n>', 'written and read in a round', Number, 128)
  .option('--rounds <n>', 'rounds', Number, 3)
  .action(async (options: { megabytes: number; rounds: number }) =>
    report('disk', await benchDisk(options)),
  );
program
  .command('micro')
  .description('redo codec, apply, row and key codecs, B+tree')
  .action(async () => report('micro', await benchMicro()));
program
  .command('restart')
  .description('SIGKILL of the engine under load to the first query of the next')
  .option('--scales <list>', 'pgbench scales; 7 is about 100 MB, 140 about 2 GB', numbers, [7, 140])
  .option('--rounds <n>', 'kills at each size', Number, 7)
  .action(async (options: { scales: number[]; rounds: number }) =>
    report('restart', await benchRestart(options)),
  );
program
  .command('locks')
  .description('lock service: three servers, two clerks, each a process')
  .option('--acquires <n>', 'of each kind one after the other', Number, 20_000)
  .option('--in-flight <n>', 'acquires on their way at a time', Number, 2000)
  .option('--locks <n>', 'held for the figure of memory', Number, 1_000_000)
  .option('--no-kills', 'without killing servers')
  .action(async (options: { acquires: number; inFlight: number; locks: number; kills: boolean }) =>
    report('locks', await benchLocks(options)),
  );
program
  .command('soak')
  .description('memory after minutes of load')
  .option('--minutes <n>', 'how long', Number, 10)
  .option('--scale <n>', 'pgbench scale', Number, 10)
  .action(async (options: { minutes: number; scale: number }) =>
    report('soak', await benchSoak(options)),
  );

await program.parseAsync();
