/** What `import { Sextant } from 'sextant'` gives. */
export { Sextant, type SextantOptions } from './sextant.js';
export {
  EmbeddedConnection,
  type Field,
  type Queryable,
  type QueryOptions,
  type Results,
  type Transaction,
} from './embedded-connection.js';
export { SqlError, type SqlErrorFields } from '../sql-error.js';
export { SextantError, type ErrorCode } from '#core/errors.js';
