/** `/tv` with a token behind it, as a telephone's camera opens it: the remote control as a page. */
import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import styles from './remote.css?url';
import { tvMessages } from '../messages-tv';
import { Panel } from './panel';
import * as remote from './session';
import { loadStyle } from './style';

const words = tvMessages.remote;

export async function draw(): Promise<void> {
  delete document.documentElement.dataset.tv;
  // Used up: whoever reloads finds the television among those that are known.
  const token = location.hash.slice(1);
  history.replaceState(null, '', '/tv#');
  await Promise.all([loadStyle(styles), remote.begin()]);
  render(<Page />, document.getElementById('app')!);
  if (/^[A-Za-z0-9_-]{86}$/.test(token)) remote.pair({ token });
}

function Page() {
  const name = remote.tv.value ? words.onTv(remote.tv.value.name) : words.title;
  useEffect(() => {
    document.title = name;
  }, [name]);
  return (
    <div class="rc-page" data-testid="remote">
      <h1>{name}</h1>
      <Panel />
    </div>
  );
}
