//! The inbox: the only way into an engine in the browser.
//!
//! A callback pushes, one runner drains. A call that calls back (a channel that fires while it is closed, a person's
//! `onchange` that asks for `stats()`) then never meets a borrowed `RefCell`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

/// News of kind `E` for a `C`, handled one after the other.
pub struct Inbox<E, C> {
    queue: RefCell<VecDeque<E>>,
    running: Cell<bool>,
    core: RefCell<C>,
    handle: fn(&mut C, E),
    settle: fn(&mut C) -> Vec<Call>,
}

/// Something to call once nothing is borrowed any more.
pub type Call = Box<dyn FnOnce()>;

impl<E: 'static, C: 'static> Inbox<E, C> {
    /// `handle` takes one piece of news in; `settle` runs when the queue is empty and returns what is to be called outside.
    pub fn new(core: C, handle: fn(&mut C, E), settle: fn(&mut C) -> Vec<Call>) -> Rc<Self> {
        Rc::new(Inbox {
            queue: RefCell::default(),
            running: Cell::new(false),
            core: RefCell::new(core),
            handle,
            settle,
        })
    }

    /// Takes news in, and drains unless someone further up the stack is draining already.
    pub fn push(&self, event: E) {
        self.queue.borrow_mut().push_back(event);
        self.run();
    }

    /// Reads or changes the core from a plain call, then drains.
    pub fn with<R>(&self, f: impl FnOnce(&mut C) -> R) -> R {
        let result = f(&mut self.core.borrow_mut());
        self.run();
        result
    }

    fn run(&self) {
        if self.running.replace(true) {
            return;
        }
        loop {
            let calls = {
                let mut core = self.core.borrow_mut();
                loop {
                    let event = self.queue.borrow_mut().pop_front();
                    match event {
                        Some(event) => (self.handle)(&mut core, event),
                        None => break,
                    }
                }
                (self.settle)(&mut core)
            };
            for call in calls {
                call();
            }
            if self.queue.borrow().is_empty() {
                break;
            }
        }
        self.running.set(false);
    }
}
