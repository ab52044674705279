/** Copies a link (or what `label` says): by the clipboard where the browser lets us, else by selection (insecure origins, old engines). */
import { useEffect, useState } from 'preact/hooks';
import { messages } from '../messages';
import { CheckIcon, CopyIcon } from './icons';

type Outcome = 'copied' | 'by-hand';

interface Props {
  text: string;
  primary?: boolean;
  label?: string;
  field?: () => HTMLInputElement | null;
}

export function CopyButton({ text, primary, label: what, field }: Props) {
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => setOutcome(null), 2500);
    return () => clearTimeout(timer);
  }, [outcome]);
  const label =
    outcome === 'copied' ? messages.share.copied : outcome === 'by-hand' ? messages.share.copyByHand : (what ?? messages.share.copy);
  return (
    <button
      class={primary ? 'button button-main' : 'button'}
      data-testid={what ? 'copy' : 'copy-link'}
      aria-live="polite"
      onClick={() => void copy(text, field?.() ?? null).then(setOutcome)}
    >
      {outcome === 'copied' ? <CheckIcon /> : <CopyIcon />}
      <span>{label}</span>
    </button>
  );
}

async function copy(text: string, field: HTMLInputElement | null): Promise<Outcome> {
  try {
    await navigator.clipboard.writeText(text);
    return 'copied';
  } catch {
    return copyBySelection(text, field);
  }
}

function copyBySelection(text: string, shown: HTMLInputElement | null): Outcome {
  const field = shown ?? document.body.appendChild(document.createElement('input'));
  field.value = text;
  field.readOnly = true;
  if (!shown) field.className = 'share-url copy-field';
  field.focus();
  field.select();
  let done = false;
  try {
    done = document.execCommand('copy');
  } catch {
    // some TV browsers throw
  }
  // Whoever has to copy by hand needs what is selected to stay.
  if (!shown && done) field.remove();
  else if (!shown) field.onblur = () => field.remove();
  return done ? 'copied' : 'by-hand';
}
