// A sound card that nobody hears, for Firefox: without one it gives up what has no pictures (`OnMediaSinkAudioError`), and no AudioContext of it runs.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Starts PulseAudio with nothing but that and says in BATON_SOUND where it is; not where there is no PulseAudio. What comes back ends it. */
export async function startSound(): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'baton-sound-'));
  const socket = join(folder, 'native');
  const parts = ['module-null-sink rate=48000', `module-native-protocol-unix auth-anonymous=1 socket=${socket}`];
  const options = ['-n', '--daemonize=no', '--exit-idle-time=-1', '--use-pid-file=no', '--disable-shm', '--log-level=info'];
  const env = { ...process.env, HOME: folder, XDG_RUNTIME_DIR: folder };
  const program = spawn('pulseaudio', [...options, ...parts.flatMap((part) => ['-L', part])], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<void>((ends) => program.once('error', () => ends()).once('exit', () => ends()));
  let said = '';
  const begun = new Promise<void>((begins) => {
    program.stderr.on('data', (text) => {
      said = (said + text).slice(-4096);
      if (said.includes('Daemon startup complete')) begins();
    });
  });
  await Promise.race([ended, begun]);
  if (program.pid !== undefined && program.exitCode !== null) throw new Error(`pulseaudio ended: ${said}`);
  if (program.pid !== undefined) process.env.BATON_SOUND = `unix:${socket}`;
  return async () => {
    program.kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
}
