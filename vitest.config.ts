import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

// Examples and documentation import the package by its name, as anybody does.
const alias = [
  { find: /^sluice$/, replacement: resolve(import.meta.dirname, 'src/index.ts') },
  { find: /^sluice\/testkit$/, replacement: resolve(import.meta.dirname, 'src/testkit/index.ts') },
  {
    find: /^sluice-source-jsonl$/,
    replacement: resolve(import.meta.dirname, 'examples/third-party-connector/index.ts'),
  },
]

export default defineConfig({
  test: {
    projects: [
      {
        resolve: { alias },
        test: {
          name: 'unit',
          include: ['tests/{unit,architecture}/**/*.test.ts'],
          testTimeout: 10_000,
        },
      },
      {
        resolve: { alias },
        test: {
          name: 'integration',
          include: ['tests/{conformance,integration,chaos}/**/*.test.ts'],
          globalSetup: ['tests/support/global-setup.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // Every file talks to real servers and several start their own.
          maxWorkers: 2,
        },
      },
    ],
  },
})
