/** How a server of one's own keeps the stream alive: the command with its ticket (docs/cli.md). */
import { useRef } from 'preact/hooks';
import { shareMessages } from '../messages-share';
import { CopyButton } from './copy';

const words = shareMessages;

export function Keep({ ticket }: { ticket: string }) {
  const field = useRef<HTMLInputElement>(null);
  const command = `baton keep ${ticket}`;
  return (
    <details class="card keep">
      <summary>{words.keep}</summary>
      <p class="hint">{words.keepHint}</p>
      <input
        ref={field}
        class="share-url"
        data-testid="keep-command"
        readOnly
        aria-label={words.keep}
        value={command}
        onFocus={(event) => event.currentTarget.select()}
      />
      <CopyButton text={command} label={words.copyCommand} field={() => field.current} />
    </details>
  );
}
