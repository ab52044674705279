/** What pages of this origin tell each other over time: IndexedDB, database `baton`. Absent in private windows of some browsers: then every call rejects. */
const STORES = { shares: 'id', streams: 'folder', saves: 'id' };

export interface Records<T> {
  put(record: T): Promise<unknown>;
  get(key: string): Promise<T | undefined>;
  all(): Promise<T[]>;
  delete(key: string): Promise<unknown>;
  /** Reads a record, and writes what becomes of it, with nobody in between; `undefined`: it stays as it is. */
  change(key: string, how: (record: T | undefined) => T | undefined): Promise<void>;
}

export function records<T>(store: keyof typeof STORES): Records<T> {
  const ask = async <R>(mode: IDBTransactionMode, what: (store: IDBObjectStore) => IDBRequest | null): Promise<R> => {
    const database = await open();
    try {
      return await new Promise<R>((resolve, reject) => {
        const transaction = database.transaction(store, mode);
        const asked = what(transaction.objectStore(store));
        transaction.oncomplete = () => resolve(asked?.result as R);
        transaction.onabort = () => reject(transaction.error);
      });
    } finally {
      database.close();
    }
  };
  return {
    put: (record) => ask('readwrite', (records) => records.put(record)),
    get: (key) => ask('readonly', (records) => records.get(key)),
    all: () => ask('readonly', (records) => records.getAll()),
    delete: (key) => ask('readwrite', (records) => records.delete(key)),
    change: (key, how) =>
      ask('readwrite', (records) => {
        const reading = records.get(key) as IDBRequest<T | undefined>;
        reading.onsuccess = () => {
          const now = how(reading.result);
          if (now !== undefined) records.put(now);
        };
        return null;
      }),
  };
}

const open = (): Promise<IDBDatabase> =>
  new Promise((resolve, reject) => {
    const opening = indexedDB.open('baton', 2);
    opening.onupgradeneeded = () => {
      const { result } = opening;
      for (const [name, keyPath] of Object.entries(STORES)) if (!result.objectStoreNames.contains(name)) result.createObjectStore(name, { keyPath });
    };
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
