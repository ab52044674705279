import { expect, test } from '../lib/test.ts';

test('the share page is there and says nothing on the console', async ({ newPeer }) => {
  const peer = await newPeer();
  await peer.go();
  await expect(peer.page.getByTestId('drop-zone')).toBeVisible();
});
