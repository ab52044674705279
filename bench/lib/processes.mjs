// Child processes: started by us, ended by us, each by its own number; and how much CPU a tree of them has used.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';

const STOP_TIMEOUT_MS = 5_000;
const START_TIMEOUT_MS = 20_000;

/** Everything that must be undone, last first; also on failure and on Ctrl-C. */
const undo = [];

/** Has `close` called at the end, whatever happens. Returns a function that does it now. */
export function atEnd(close) {
  const entry = { close };
  undo.push(entry);
  return async () => {
    const at = undo.indexOf(entry);
    if (at >= 0) undo.splice(at, 1);
    const todo = entry.close;
    entry.close = () => undefined;
    await todo();
  };
}

export async function cleanUp() {
  while (undo.length > 0) {
    const { close } = undo.pop();
    try {
      await close();
    } catch (error) {
      console.error(`while cleaning up: ${error.message}`);
    }
  }
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    void cleanUp().finally(() => process.exit(130));
  });
}

/**
 * Starts a program and waits until a line of its output matches `ready`.
 * `stdin` stays open as long as we live: programs that end with it never outlive us.
 */
export async function start(program, args, { ready, env = {}, stdio = 'pipe' } = {}) {
  const child = spawn(program, args, { stdio: [stdio, 'pipe', 'pipe'], env: { ...process.env, ...env } });
  let log = '';
  const found = new Promise((resolve, reject) => {
    const take = (chunk) => {
      log = (log + chunk.toString()).slice(-100_000);
      const match = ready.exec(log);
      if (match) resolve(match);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.once('error', (error) => reject(new Error(`${program}: ${error.message}`)));
    child.once('exit', (code, signal) => reject(new Error(`${program} ended (${code ?? signal}):\n${log}`)));
    setTimeout(() => reject(new Error(`${program} does not become ready:\n${log}`)), START_TIMEOUT_MS).unref();
  });
  const stop = atEnd(() => end(child));
  try {
    const match = await found;
    return { child, match, stop, log: () => log };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  const forced = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await ended;
  clearTimeout(forced);
}

/** Runs a program to its end; its error output becomes the error. */
export async function run(program, args, options = {}) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let out = '';
  let error = '';
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (error = (error + chunk).slice(-4000)));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: ${code}\n${error}`);
  return out;
}

/** The kernel's clock ticks are 100 a second on every Linux that runs a browser (`getconf CLK_TCK`). */
const TICKS_PER_S = 100;

/** One line of /proc/PID/stat: parent, and the ticks of itself and of the children that it has waited for. */
function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name, in parentheses, may hold anything.
    const name = text.slice(text.indexOf('(') + 1, text.lastIndexOf(')'));
    const words = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ownTicks = Number(words[11]) + Number(words[12]);
    const ticks = ownTicks + Number(words[13]) + Number(words[14]);
    return { pid, name, parent: Number(words[1]), ownTicks, ticks };
  } catch {
    return null;
  }
}

function everything() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => stat(Number(name)))
    .filter((it) => it !== null);
}

/** CPU-seconds that a process and all its descendants have used so far. Linux only. */
export function cpuSeconds(root) {
  return tree(root).reduce((ticks, one) => ticks + one.ticks, 0) / TICKS_PER_S;
}

/** The same by kind of process and name of thread, e.g. `renderer DedicatedWorker`; threads that have ended are missing. */
export function cpuByThread(root) {
  const seconds = new Map();
  for (const { pid } of tree(root)) {
    try {
      const [, kind] = /--type=([\w-]+)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'latin1')) ?? [null, 'browser'];
      for (const thread of readdirSync(`/proc/${pid}/task`)) {
        const one = stat(`${pid}/task/${thread}`);
        // Pools number their threads.
        const name = `${kind} ${one.name.replace(/[\d/#]+$/, '')}`;
        seconds.set(name, (seconds.get(name) ?? 0) + one.ownTicks / TICKS_PER_S);
      }
    } catch {
      // Gone between two looks.
    }
  }
  return seconds;
}

/** A process and all its descendants. */
export function tree(root) {
  const all = everything();
  const children = groupByParent(all);
  const found = all.filter((it) => it.pid === root);
  for (let at = 0; at < found.length; at += 1) found.push(...(children.get(found[at].pid) ?? []));
  return found;
}

function groupByParent(all) {
  const groups = new Map();
  for (const it of all) {
    const group = groups.get(it.parent);
    if (group) group.push(it);
    else groups.set(it.parent, [it]);
  }
  return groups;
}

/** Our own child whose command line holds this word. */
export function childWith(word) {
  const ours = everything().filter((it) => it.parent === process.pid);
  const found = ours.find((it) => {
    try {
      return readFileSync(`/proc/${it.pid}/cmdline`, 'latin1').split('\0').includes(word);
    } catch {
      return false;
    }
  });
  if (!found) throw new Error(`no child process was started with ${word}`);
  return found.pid;
}

/** What all programs together have used since the machine started. */
export function machineCpuSeconds() {
  const lines = readFileSync('/proc/stat', 'latin1').split('\n');
  const [user, nice, system, , , irq, softirq] = lines[0].trim().split(/\s+/).slice(1).map(Number);
  const cores = lines.filter((line) => /^cpu\d/.test(line)).length;
  return { busy: (user + nice + system + irq + softirq) / TICKS_PER_S, cores };
}
