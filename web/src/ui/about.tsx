/** What the file says of itself: title, artist, cover. Read once its picture is on the screen. */
import { useEffect } from 'preact/hooks';
import { readTags } from '../media';
import { baton } from '../session';
import { hasPicture } from './playback';
import { meta, said, viewStats } from './state';
import './about.css';

/** Draws nothing: reads the tags of what plays. */
export function Tags() {
  const file = hasPicture.value ? (viewStats.value?.file ?? null) : null;
  useEffect(() => {
    const view = baton.view;
    const size = file === null ? 0 : (meta.value?.files[file]?.size ?? 0);
    if (!view || file === null || size === 0) return;
    let cover = '';
    let over = false;
    readTags(view, file, size).then(
      (tags) => {
        if (over || !tags) return;
        const { title, artist, album } = tags;
        // Only types of pictures that carry no script come out of the reader.
        if (tags.cover) cover = URL.createObjectURL(new Blob([tags.cover.bytes], { type: tags.cover.mime }));
        said.value = { title, artist, album, cover };
      },
      () => undefined, // the page works without them
    );
    return () => {
      over = true;
      said.value = null;
      if (cover) URL.revokeObjectURL(cover);
    };
  }, [file]);
  return null;
}

/** Under the name that the publisher gave it. */
export function About() {
  const now = said.value;
  if (!now) return null;
  const words = [now.title, now.artist, now.album].filter((it) => it !== null && it !== meta.value?.title);
  if (words.length === 0 && !now.cover) return null;
  return (
    <p class="about" data-testid="about">
      {now.cover && <img class="about-cover" data-testid="cover" src={now.cover} alt="" />}
      <span>{[...new Set(words)].join(' · ')}</span>
    </p>
  );
}
