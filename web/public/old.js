// For engines that know no modules, in words of 2009: says at once what others say when nothing has begun after a while.
(function () {
  function say() {
    var words = document.getElementById('too-old');
    if (words) words.className = 'too-old too-old-now';
  }
  if (document.readyState === 'loading') document.addEventListener('DOMContentLoaded', say, false);
  else say();
})();
