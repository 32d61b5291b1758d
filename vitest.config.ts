import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Whole clusters first: left to file sizes, the simulator comes last and runs alone on its core. */
class ClustersFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const unit = (file: TestSpecification): number => (file.moduleId.includes('/tests/') ? 0 : 1);
    return (await super.sort(files)).sort((a, b) => unit(a) - unit(b));
  }
}

export default defineConfig({
  resolve: { conditions: ['source'] },
  ssr: { resolve: { conditions: ['source'] } },
  test: {
    include: ['{core,storage-nodes,lockservice,fs-frontend,engine,cli,bench,tests}/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    sequence: { sequencer: ClustersFirst },
  },
});
