// The two browsers: the system's own Chromium and stock Firefox, headless, as people have them.
import { chromium, firefox, type Browser, type BrowserContext, type BrowserContextOptions, type LaunchOptions } from '@playwright/test';

import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type BrowserName = 'chromium' | 'firefox';

/** What a test wants different from usual. It gets a browser process of its own then. */
export interface Launch {
  /** Further switches, for Chromium. */
  args?: string[];
  /** Further preferences, for Firefox. */
  prefs?: Record<string, string | number | boolean>;
  /** `default`: sound needs a gesture, as on any fresh profile. Tests play with sound at once otherwise. */
  autoplay?: 'default';
  /** `on`: Firefox hides local addresses behind mDNS names, as it comes. Chromium has no page with a camera: it always does. */
  mdns?: 'on';
  /** These names lead to this machine, e.g. `lan.test`, which is no secure context. */
  hosts?: string[];
}

// Browsers refuse to start without one.
process.env.HOME ||= '/tmp';

/** Where this worker's Firefox puts what a person saves: there Playwright hears nothing of a download. */
export const FIREFOX_DOWNLOADS = join(tmpdir(), `baton-downloads-${process.pid}`);

const CHROMIUM_ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export function launchOptions(name: BrowserName, launch: Launch = {}): LaunchOptions {
  const hosts = launch.hosts ?? [];
  if (name === 'chromium') {
    const rules = hosts.map((host) => `MAP ${host} 127.0.0.1`).join(',');
    return {
      executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
      args: [
        ...CHROMIUM_ARGS,
        ...(launch.autoplay === 'default' ? [] : ['--autoplay-policy=no-user-gesture-required']),
        ...(rules ? [`--host-resolver-rules=${rules}`] : []),
        ...(launch.args ?? []),
      ],
    };
  }
  return {
    executablePath: process.env.FIREFOX || '/usr/bin/firefox-esr',
    downloadsPath: FIREFOX_DOWNLOADS,
    // lib/sound.ts
    ...(process.env.BATON_SOUND ? { env: { ...process.env, PULSE_SERVER: process.env.BATON_SOUND } as Record<string, string> } : {}),
    firefoxUserPrefs: {
      // Under a driver every document counts as touched: Playwright evaluates in it as it opens. Policy 2 looks only at
      // whether a click is being handled right now, as is so for a document that nobody has touched.
      ...(launch.autoplay === 'default' ? { 'media.autoplay.blocking_policy': 2 } : { 'media.autoplay.default': 0 }),
      ...(launch.mdns === 'on' ? {} : { 'media.peerconnection.ice.obfuscate_host_addresses': false }),
      ...(hosts.length > 0 ? { 'network.dns.localDomains': hosts.join(',') } : {}),
      ...launch.prefs,
    },
  };
}

export function launchBrowser(name: BrowserName, launch: Launch = {}): Promise<Browser> {
  const options = launchOptions(name, launch);
  return name === 'chromium' ? chromium.launch(options) : firefox.launch({ ...options, channel: 'moz-firefox' });
}

/** A browser that keeps its profile in a folder, in a process of its own. */
export function launchProfile(name: BrowserName, folder: string, settings: BrowserContextOptions): Promise<BrowserContext> {
  const options = { ...launchOptions(name), ...settings };
  return name === 'chromium'
    ? chromium.launchPersistentContext(folder, options)
    : firefox.launchPersistentContext(folder, { ...options, channel: 'moz-firefox' });
}

/** Ends all processes of the browser that has this profile, as a power cut does. */
export function killProfile(folder: string): void {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder)) process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}
