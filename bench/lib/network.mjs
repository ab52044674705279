// Where things run: all on loopback, or each role in a network namespace of its own with the wire between them.
import { existsSync, mkdirSync, readdirSync, writeFileSync, chmodSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';
import { atEnd, run, start } from './processes.mjs';

const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';

/**
 * A place for one role.
 * @typedef {{
 *   address: string,           listen here
 *   host: string,              and call it so in URLs
 *   chromium: string,          the browser of this place
 *   switches: string[],        what that browser needs to find the others
 *   command: (program: string, args: string[]) => [string, string[]],
 * }} Place
 */

/** Everything on 127.0.0.1, which is a secure context and gets brotli, as HTTPS would. */
export async function loopback() {
  const place = {
    address: '127.0.0.1',
    host: '127.0.0.1',
    chromium: CHROMIUM,
    switches: [],
    command: (program, args) => [program, args],
  };
  return { name: 'loopback', place: () => place, close: async () => undefined };
}

/** A home connection: 20 Mbit/s up, 50 down. */
export const HOME = { up_kbit: 20_000, down_kbit: 50_000, loss_ppm: 0 };

/**
 * Namespaces with links of these rates, some perhaps of their own; `round_trip_ms` between any two of them. Needs root.
 *
 * Names under .localhost lead into them: Chromium takes those as secure contexts and offers brotli there, as it does
 * with HTTPS, and mapping them costs no certificate.
 */
export async function shaped(roles, { round_trip_ms, link = HOME, own = {} }) {
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root: run as root, or measure on loopback only');
  await sweep();
  const id = process.pid;
  const places = new Map();
  // A path crosses two hosts each way.
  const delay_us = Math.round((round_trip_ms * 1000) / 4);
  const devices = roles.map((_, at) => `btn${id % 100_000}x${at}`);
  const specs = roles.map((role, at) => {
    const { up_kbit, down_kbit, loss_ppm } = own[role] ?? link;
    return `${devices[at]}:${up_kbit}:${down_kbit}:${delay_us}:${loss_ppm}`;
  });
  const wire = await start(wireProgram(), specs, { ready: /^ready$/m });
  const folder = `${tmpdir()}/baton-bench-${id}`;
  mkdirSync(folder, { recursive: true });
  const removeFolder = atEnd(() => rmSync(folder, { recursive: true, force: true }));
  const removers = [];
  const address = (at) => `10.213.${id % 250}.${at + 1}`;
  const rules = roles.map((role, at) => `MAP ${role}.localhost ${address(at)}`).join(',');
  for (const [at, role] of roles.entries()) {
    const space = `${PREFIX}${id}-${role}`;
    await ip('netns', 'add', space);
    removers.push(atEnd(() => ip('netns', 'del', space)));
    await ip('link', 'set', devices[at], 'netns', space);
    const inside = (...words) => ip('-n', space, ...words);
    await inside('link', 'set', 'lo', 'up');
    await inside('addr', 'add', `${address(at)}/24`, 'dev', devices[at]);
    await inside('link', 'set', devices[at], 'mtu', '1500', 'up');
    // Chromium asks which of its addresses leads out before it offers any.
    await inside('route', 'add', 'default', 'dev', devices[at]);
    const chromium = `${folder}/chromium-${role}`;
    writeFileSync(chromium, `#!/bin/sh\nexec ip netns exec ${space} ${CHROMIUM} "$@"\n`);
    chmodSync(chromium, 0o755);
    places.set(role, {
      address: address(at),
      host: `${role}.localhost`,
      chromium,
      switches: [`--host-resolver-rules=${rules}`],
      command: (program, args) => ['ip', ['netns', 'exec', space, program, ...args]],
    });
  }
  const close = async () => {
    for (const remove of removers) await remove();
    await wire.stop();
    await removeFolder();
  };
  const name = `${link.up_kbit / 1000} Mbit/s up, ${link.down_kbit / 1000} down, ${round_trip_ms} ms`;
  return { name, place: (role) => places.get(role), close };
}

const PREFIX = 'baton-bench-';
const ip = (...words) => run('ip', words);

/** Namespaces of a run that was killed and could not clean up itself: ours by name, their maker gone. */
async function sweep() {
  const folder = '/run/netns';
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    const [, pid] = new RegExp(`^${PREFIX}(\\d+)-`).exec(name) ?? [];
    if (pid && !existsSync(`/proc/${pid}`)) await ip('netns', 'del', name);
  }
}

function wireProgram() {
  const program = process.env.BATON_WIRE || fileURLToPath(new URL('../../target/release/baton-wire', import.meta.url));
  if (!existsSync(program)) throw new Error(`${program} is missing: cargo build --release -p baton-wire`);
  return program;
}
