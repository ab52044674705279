/** Those that are here or on their way, by address. */
const sheets = new Map<string, Promise<void>>();

/** A style sheet of a part that few pages have: apart from the one sheet that all load. Whoever asks again gets the same one. */
export function loadStyle(url: string): Promise<void> {
  const sheet = sheets.get(url) ?? load(url);
  sheets.set(url, sheet);
  return sheet;
}

function load(url: string): Promise<void> {
  return new Promise((done) => {
    const link = document.createElement('link');
    link.rel = 'stylesheet';
    link.href = new URL(url, import.meta.url).href;
    // Without it the page is ugly, but works.
    link.onload = link.onerror = () => done();
    document.head.append(link);
  });
}
