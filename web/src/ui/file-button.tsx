/** A native file input under a button's looks: it keeps the keyboard and the screen reader. */

/** Chromium's file picker, whose handles a later page may read again. */
type Picker = { showOpenFilePicker?(options: { multiple: boolean }): Promise<FileSystemFileHandle[]> };

/** The picker did not open here: the input does. */
let inputOnly = false;

interface Props {
  class: string;
  label: string;
  folder?: boolean;
  testId?: string;
  onFiles(files: File[], handles: FileSystemHandle[]): void;
}

export function FileButton({ class: look, label, folder, testId, onFiles }: Props) {
  if (folder && !('webkitdirectory' in HTMLInputElement.prototype)) return null;
  return (
    <label class={`file-button ${look}`}>
      <input
        type="file"
        multiple
        data-testid={testId ?? (folder ? 'folder-input' : 'file-input')}
        {...(folder ? { webkitdirectory: true } : {})}
        onClick={(event) => {
          const picker = window as Picker;
          if (folder || inputOnly || !picker.showOpenFilePicker) return;
          event.preventDefault();
          void pick(picker, onFiles);
        }}
        onChange={(event) => {
          const input = event.currentTarget;
          const files = [...(input.files ?? [])];
          input.value = ''; // the same file may be chosen again
          onFiles(files, []);
        }}
      />
      <span>{label}</span>
    </label>
  );
}

async function pick(picker: Picker, onFiles: Props['onFiles']): Promise<void> {
  try {
    const handles = await picker.showOpenFilePicker!({ multiple: true });
    onFiles(await Promise.all(handles.map((handle) => handle.getFile())), handles);
  } catch (error) {
    // A person who thinks better of it chooses nothing.
    inputOnly = (error as DOMException).name !== 'AbortError';
  }
}
