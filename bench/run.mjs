// node run.mjs [NAME …] [--runs N] [--only SYSTEM,…] [--megabytes N] [--storage memory] [--minutes N] [--part NAME]
// Measures, prints progress on stderr and one table on stdout.
import { bulk } from './cases/bulk.mjs';
import { eight, four, six } from './cases/crowd.mjs';
import { gone } from './cases/gone.mjs';
import { hidden } from './cases/hidden.mjs';
import { link } from './cases/link.mjs';
import { polite } from './cases/polite.mjs';
import { remux } from './cases/remux.mjs';
import { seek, seekShaped } from './cases/seek.mjs';
import { startup, startupShaped } from './cases/startup.mjs';
import { storage } from './cases/storage.mjs';
import { weight } from './cases/weight.mjs';
import { cleanUp, cpuSeconds, machineCpuSeconds } from './lib/processes.mjs';
import { progress, setPause } from './lib/rounds.mjs';
import { table } from './lib/table.mjs';

const CASES = {
  startup,
  'startup-shaped': startupShaped,
  seek,
  'seek-shaped': seekShaped,
  gone,
  bulk,
  four,
  six,
  eight,
  weight,
  polite,
  link,
  storage,
  hidden,
  remux,
};

const USAGE = `usage: cargo xtask bench [NAME …] [OPTION …]     without a name: all of them

${Object.entries(CASES).map(([name, { about }]) => `  ${name.padEnd(15)} ${about}`).join('\n')}

  --runs N          so many rounds, each system once in each; medians are printed (default 5)
  --only A,B        only these systems: baton, http, webtorrent
  --megabytes N     what bulk carries (default 200)
  --pause N         so many seconds between visits (default 0.5)
  --storage memory  where bulk's viewer keeps it (default: as a visitor's browser does)
  --minutes N       how long storage and hidden go on (default 10)
  --part NAME       only this part of storage: sharing, reload, download, watching, watching-firefox, random, whole, whole-firefox
`;

function parse(words) {
  const options = { runs: 5, systems: new Set(['baton', 'http', 'webtorrent']), megabytes: 200, storage: null, minutes: 10 };
  const names = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (word === '--runs') options.runs = number(words[(at += 1)]);
    else if (word === '--megabytes') options.megabytes = number(words[(at += 1)]);
    else if (word === '--storage') options.storage = words[(at += 1)];
    else if (word === '--part') options.part = words[(at += 1)];
    else if (word === '--minutes') options.minutes = number(words[(at += 1)]);
    else if (word === '--pause') setPause(1000 * number(words[(at += 1)]));
    else if (word === '--only') options.systems = new Set((words[(at += 1)] ?? '').split(','));
    else if (word in CASES) names.push(word);
    else throw new Error(`no such bench or option: ${word}\n\n${USAGE}`);
  }
  return { names: names.length > 0 ? names : Object.keys(CASES), options };
}

function number(word) {
  const value = Number(word);
  if (!Number.isInteger(value) || value < 1) throw new Error(`not a number: ${word}`);
  return value;
}

async function main() {
  if (process.argv.slice(2).some((word) => word === '--help' || word === '-h')) {
    console.log(USAGE);
    return;
  }
  const { names, options } = parse(process.argv.slice(2));
  const rows = [];
  for (const name of names) {
    const meter = othersMeter();
    try {
      rows.push(...(await CASES[name].run(options)));
    } catch (error) {
      // One that cannot be measured here does not take the others with it.
      progress(`${name}: ${error.message}`);
      process.exitCode = 1;
      rows.push({ figure: name, ours: 'not measured', rivals: error.message.split('\n')[0], ratio: '–', bar: '–', met: false });
      await cleanUp();
    }
    progress(`${name}: ${meter()}`);
  }
  console.log(table(rows));
}

/** Numbers from a busy machine are worth little: says how much of it others used meanwhile. */
function othersMeter() {
  const began = performance.now();
  const all = machineCpuSeconds();
  const ours = cpuSeconds(process.pid);
  return () => {
    const seconds = (performance.now() - began) / 1000;
    const { busy, cores } = machineCpuSeconds();
    const used = (busy - all.busy - (cpuSeconds(process.pid) - ours)) / (seconds * cores);
    return `${seconds.toFixed(0)} s; other programs used ${Math.min(100, Math.max(0, Math.round(used * 100)))} % of the ${cores} cores`;
  };
}

try {
  await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await cleanUp();
}
