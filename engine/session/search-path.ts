/** Small readings of settings. */
import type { Notice } from './session.js';

/** The schemas that a search_path setting names; `"$user"` becomes the user's own. */
export function splitSearchPath(value: string, user: string): string[] {
  const names: string[] = [];
  for (const match of value.matchAll(/"((?:[^"]|"")*)"|([^\s,"]+)/g)) {
    const name = match[1]?.replaceAll('""', '"') ?? (match[2] ?? '').toLowerCase();
    names.push(name === '$user' ? user : name);
  }
  return names;
}

const SEVERITIES = ['DEBUG', 'LOG', 'NOTICE', 'WARNING', 'ERROR'];

/** Whether client_min_messages keeps this from the client; INFO always goes. */
export function isSuperfluous(severity: Notice['severity'], least: string): boolean {
  if (severity === 'INFO') return false;
  const bound = SEVERITIES.findIndex((name) => least.toUpperCase().startsWith(name));
  return SEVERITIES.indexOf(severity) < bound;
}
