//! The key bindings. Pure: no I/O, no state.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// The action of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Quit.
    Quit,
    /// Close the help, or else quit.
    Leave,
    /// Focus the next pane.
    NextPane,
    /// Focus the previous pane.
    PaneBefore,
    /// Change the sort order of the partitions.
    Sort,
    /// Scroll up by a line.
    Up,
    /// Scroll down by a line.
    Down,
    /// Scroll up by a page.
    PageUp,
    /// Scroll down by a page.
    PageDown,
    /// Scroll to the first line.
    Home,
    /// Scroll to the last line.
    End,
    /// Pause or resume updates.
    Pause,
    /// Show or hide the key bindings.
    Help,
}

/// Returns the action of a key, if it has one.
pub(super) fn action(key: &KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        // In raw mode, the terminal sends no SIGINT for Ctrl+C.
        return (key.code == KeyCode::Char('c')).then_some(Action::Quit);
    }
    Some(match key.code {
        KeyCode::Char('q') => Action::Quit,
        KeyCode::Esc => Action::Leave,
        KeyCode::Tab => Action::NextPane,
        KeyCode::BackTab => Action::PaneBefore,
        KeyCode::Char('s') => Action::Sort,
        KeyCode::Up | KeyCode::Char('k') => Action::Up,
        KeyCode::Down | KeyCode::Char('j') => Action::Down,
        KeyCode::PageUp => Action::PageUp,
        KeyCode::PageDown | KeyCode::Char(' ') => Action::PageDown,
        KeyCode::Home => Action::Home,
        KeyCode::End => Action::End,
        KeyCode::Char('p') => Action::Pause,
        KeyCode::Char('?' | 'h') => Action::Help,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        action(&KeyEvent::new(code, modifiers))
    }

    #[test]
    fn control_and_c_is_the_end_and_c_is_nothing() {
        assert_eq!(of(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Action::Quit));
        assert_eq!(of(KeyCode::Char('c'), KeyModifiers::NONE), None);
        assert_eq!(of(KeyCode::Char('q'), KeyModifiers::CONTROL), None, "a terminal's own");
    }

    #[test]
    fn keys_count_when_they_are_pressed() {
        let mut key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        assert_eq!(action(&key), Some(Action::Quit));
        key.kind = KeyEventKind::Release;
        assert_eq!(action(&key), None);
    }
}
