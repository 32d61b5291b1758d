/** Tools of other projects that a test uses. CI has them all; elsewhere a test without its tool is skipped, with the reason. */
import { spawnSync } from 'node:child_process';

export function hasTool(name: string): boolean {
  const found = spawnSync(name, ['--version'], { stdio: 'ignore' }).error === undefined;
  if (!found) {
    if (process.env['SEXTANT_REQUIRE_TOOLS'] === '1')
      throw new Error(`${name} is required here and not installed`);
    process.stderr.write(`skipped: ${name} is not installed\n`);
  }
  return found;
}
