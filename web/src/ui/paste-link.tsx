/** A field for a link that somebody got elsewhere. */
import { useState } from 'preact/hooks';
import { messages } from '../messages';
import { goToLink } from '../session';

export function PasteLink() {
  const [bad, setBad] = useState(false);
  const submit = (event: Event): void => {
    event.preventDefault();
    const field = (event.currentTarget as HTMLFormElement).elements.namedItem('link') as HTMLInputElement;
    setBad(!goToLink(field.value));
  };
  return (
    <form class="paste-link" onSubmit={submit}>
      <div class="field">
        <input
          name="link"
          type="text"
          inputMode="url"
          autocomplete="off"
          spellcheck={false}
          aria-label={messages.share.open}
          placeholder={messages.share.openPlaceholder}
          onInput={() => setBad(false)}
        />
        <button class="button" type="submit">
          {messages.share.openButton}
        </button>
      </div>
      {bad && (
        <p class="field-error" role="alert">
          {messages.share.openBad}
        </p>
      )}
    </form>
  );
}
