/** Options that several commands share. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Option } from 'commander';
import { SextantError } from '#core/errors.js';
import { type ClusterConfig, readClusterConfig } from './config.js';
import { configPath } from './dev-folder.js';

export const DEFAULT_DATA = './sextant-data';

export interface ClusterOptions {
  readonly data?: string;
  readonly config?: string;
}

export function clusterOf(options: ClusterOptions): ClusterConfig {
  if (options.config !== undefined) return readClusterConfig(options.config);
  const path = configPath(resolve(options.data ?? DEFAULT_DATA));
  if (!existsSync(path)) {
    throw new SextantError(
      'CONFIG',
      `no cluster in ${resolve(options.data ?? DEFAULT_DATA)}: start one with \`sextant dev\`, or name one with --data or --config`,
    );
  }
  return readClusterConfig(path);
}

export const logLevel = (): Option =>
  new Option('--log-level <level>', 'what to log, as JSON lines on standard error')
    .choices(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info');

export const dataOption = (): Option =>
  new Option('--data <dir>', 'folder of a `sextant dev` cluster').default(DEFAULT_DATA);
export const configOption = (): Option =>
  new Option('--config <file>', 'sextant.json of a cluster');
