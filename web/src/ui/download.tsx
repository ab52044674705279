/** Fetches all of it and saves it, byte for byte as it was shared. */
import { useState } from 'preact/hooks';
import type { Meta, View } from '../api';
import { messages } from '../messages';
import { baton } from '../session';
import { CheckIcon, DownIcon } from './icons';
import { viewStats } from './state';

const words = messages.watch;

export function DownloadButton({ what, primary }: { what: Meta; primary?: boolean }) {
  const [state, setState] = useState<'idle' | 'busy' | 'saved' | 'failed'>('idle');
  const have = viewStats.value?.have ?? 0;
  const download = async (): Promise<void> => {
    const view = baton.view;
    if (!view) return;
    setState('busy');
    try {
      if (what.folder) save(await zipOf(view, what), `${what.name}.zip`);
      else save(await view.download(), what.name);
      setState('saved');
    } catch {
      setState('failed');
    }
  };
  const label = state === 'busy' ? words.downloading(have) : state === 'saved' ? words.saved : words.download;
  return (
    <>
      <button
        class={primary ? 'button button-main button-large' : 'button'}
        data-testid="download"
        data-state={state}
        aria-disabled={state === 'busy'}
        onClick={() => state !== 'busy' && void download()}
      >
        {state === 'saved' ? <CheckIcon /> : <DownIcon />}
        <span>{label}</span>
      </button>
      {state === 'failed' && (
        <p class="field-error" role="alert">
          {words.downloadFailed}
        </p>
      )}
    </>
  );
}

/** Of a folder, all files in one. */
async function zipOf(view: View, { name, files }: Meta): Promise<Blob> {
  const { places, zip } = await import('../zip');
  const parts = places(name, files.map((file) => file.path)).map(async (path, index) => ({ path, blob: await view.download(index) }));
  return zip(await Promise.all(parts));
}

export function save(blob: Blob, name: string): void {
  const anchor = document.createElement('a');
  anchor.href = URL.createObjectURL(blob);
  anchor.download = name;
  document.body.appendChild(anchor).click();
  anchor.remove();
  // The browser reads the blob after the click; a minute is plenty to begin.
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}
