import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['{core,storage-nodes,engine,cli,bench,tests}/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 30_000,
    maxWorkers: 2,
  },
});
