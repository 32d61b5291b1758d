/** One golden script per behaviour; `RAFT_GOLDEN=write` writes them anew. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { RaftScript } from './script.test-helper.js';

const FOLDER = new URL('golden', import.meta.url).pathname;

describe('golden scripts', () => {
  for (const name of readdirSync(FOLDER)) {
    it(name.replace('.txt', ''), () => {
      const path = join(FOLDER, name);
      const golden = readFileSync(path, 'utf8');
      const now = RaftScript.replay(golden);
      if (process.env['RAFT_GOLDEN'] === 'write') writeFileSync(path, now);
      else expect(now).toBe(golden);
    });
  }
});
