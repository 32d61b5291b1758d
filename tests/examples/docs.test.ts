/** What the documentation points to is there: links between pages, and files that it names in backticks. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('../..', import.meta.url).pathname;
const SOURCE_PATH =
  /`((?:core|storage-nodes|engine|cli|bench|tests|examples|docs|scripts)\/[\w./-]+)`/g;

function pages(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return pages(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

/** As GitHub makes anchors of headings. */
function anchors(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map((match) => match[1] as string);
  const slug = (heading: string): string =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, '')
      .replaceAll(' ', '-');
  return new Set(headings.map(slug));
}

const files = [
  join(ROOT, 'README.md'),
  join(ROOT, 'CHANGELOG.md'),
  ...pages(join(ROOT, 'docs')),
  ...pages(join(ROOT, 'examples')),
];

describe('documentation', () => {
  it('has links that lead somewhere', () => {
    const broken: string[] = [];
    for (const file of files) {
      const text = readFileSync(file, 'utf8').replaceAll(/```[\s\S]*?```/g, '');
      for (const match of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        const [path = '', anchor] = (match[1] as string).split('#');
        if (/^[a-z]+:/.test(path)) continue;
        const target = path === '' ? file : join(dirname(file), path);
        const ok =
          existsSync(target) &&
          (anchor === undefined || anchors(readFileSync(target, 'utf8')).has(anchor));
        if (!ok) broken.push(`${relative(ROOT, file)} -> ${match[1]}`);
      }
    }
    expect(broken).toEqual([]);
  });

  it('names source files that exist', () => {
    const missing: string[] = [];
    for (const file of files) {
      for (const match of readFileSync(file, 'utf8').matchAll(SOURCE_PATH)) {
        if (!existsSync(join(ROOT, match[1] as string))) {
          missing.push(`${relative(ROOT, file)}: ${match[1]}`);
        }
      }
    }
    expect(missing).toEqual([]);
  });
});
