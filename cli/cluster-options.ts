/** Options that several commands share. */
import { Option } from 'commander';
import { DEFAULT_DATA } from './find-cluster.js';

export { DEFAULT_DATA, clusterOf, type ClusterOptions } from './find-cluster.js';

export const logLevel = (): Option =>
  new Option('--log-level <level>', 'what to log, as JSON lines on standard error')
    .choices(['debug', 'info', 'warn', 'error', 'silent'])
    .default('info');

export const dataOption = (): Option =>
  new Option('--data <dir>', 'folder of a `sextant dev` cluster').default(DEFAULT_DATA);
export const configOption = (): Option =>
  new Option('--config <file>', 'sextant.json of a cluster');
