/** Pass on, or pause that. */
import type { Share, View } from '../api';
import { messages } from '../messages';

export function PassOnSwitch({ stream, paused }: { stream: Share | View | null; paused: boolean }) {
  return (
    <label class="switch">
      <span class="switch-label">{messages.watch.passOnSwitch}</span>
      <input
        type="checkbox"
        role="switch"
        data-testid="pass-on"
        checked={!paused}
        onChange={(event) => stream?.setUpload({ paused: !event.currentTarget.checked })}
      />
      <span class="switch-lane" aria-hidden="true">
        <i />
      </span>
    </label>
  );
}
