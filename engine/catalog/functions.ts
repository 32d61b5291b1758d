/** Makes the catalog's functions and names known to the function registry; once per process. */
import { setNameResolver } from '../functions/context.js';
import { registerFunctions } from '../functions/function.js';
import { lookUpName, nameOfObject } from './names.js';
import { objectFunctions } from './object-functions.js';
import { sequenceFunctions } from './sequence-functions.js';
import { snapshotOf } from './session-catalog.js';

let registered = false;

export function registerCatalogFunctions(): void {
  if (registered) return;
  registered = true;
  registerFunctions([...sequenceFunctions(), ...objectFunctions()]);
  setNameResolver({
    lookUp: (session, kind, name) =>
      lookUpName(snapshotOf(session), kind, name, session.searchPath),
    nameOf: (session, kind, oid) =>
      nameOfObject(snapshotOf(session), kind, oid, session.searchPath),
    hasSchema: (session, schema) => snapshotOf(session).hasSchema(schema),
  });
}
