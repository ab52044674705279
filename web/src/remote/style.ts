/** A style sheet of a part that few pages have: apart from the one sheet that all load. */
export function loadStyle(url: string): Promise<void> {
  return new Promise((done) => {
    const link = document.createElement('link');
    link.rel = 'stylesheet';
    link.href = new URL(url, import.meta.url).href;
    // Without it the page is ugly, but works.
    link.onload = link.onerror = () => done();
    document.head.append(link);
  });
}
