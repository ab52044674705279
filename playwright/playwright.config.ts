// `cargo xtask test browsers` runs this; `npx playwright test` alone needs target/dist/baton-server to be built.
import { defineConfig } from '@playwright/test';
import { launchOptions } from './lib/browsers.ts';

export default defineConfig({
  testDir: 'tests',
  globalSetup: './lib/prepare.ts',
  outputDir: 'test-results',
  reporter: [['list'], ['json', { outputFile: 'report/results.json' }]],
  // A test waits for half of its time; two at once on two cores take three quarters of the time of one after the other, three gain nothing.
  workers: Number(process.env.BATON_WORKERS ?? 2),
  forbidOnly: !!process.env.CI,
  retries: 0,
  // No test is about time: these are for a machine ten times as busy as any that the tests were written on. What hangs costs minutes once.
  timeout: 240_000,
  // A hung run ends in time for somebody to read why.
  globalTimeout: 55 * 60_000,
  expect: { timeout: 40_000 },
  projects: [
    { name: 'chromium', use: { browserName: 'chromium', launchOptions: launchOptions('chromium') } },
    { name: 'firefox', use: { browserName: 'firefox', ...channel(), launchOptions: launchOptions('firefox') } },
  ],
});

/** A stock Firefox is driven over WebDriver BiDi; Playwright calls that a channel. */
function channel(): { channel: string } {
  return { channel: 'moz-firefox' };
}
