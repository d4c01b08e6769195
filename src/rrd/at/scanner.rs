//! The words, numbers and signs of a time.

use crate::rrd::at::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Number(&'a str),
    Word(&'a str),
    /// `+` or `-`.
    Sign(char),
    /// `:`, `.` or `/`.
    Mark(char),
    /// The end, or a character that ends it.
    End,
}

/// Cuts a text into tokens, and knows the present one.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    /// Where the present token begins, and where it ends.
    start: usize,
    end: usize,
    pub(super) token: Token<'a>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut scanner = Self { text, start: 0, end: 0, token: Token::End };
        scanner.next();
        scanner
    }

    pub(super) fn next(&mut self) {
        let behind = &self.text[self.end..];
        let blanks = behind.len()
            - behind.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '_' || c == ',').len();
        self.start = self.end + blanks;
        let rest = &self.text[self.start..];
        let run = |is: fn(&char) -> bool| rest.find(|c| !is(&c)).unwrap_or(rest.len());
        let (len, token): (usize, fn(&'a str) -> Token<'a>) = match rest.chars().next() {
            Some('0'..='9') => (run(char::is_ascii_digit), Token::Number),
            Some('a'..='z' | 'A'..='Z') => (run(char::is_ascii_alphabetic), Token::Word),
            Some('+') => (1, |_| Token::Sign('+')),
            Some('-') => (1, |_| Token::Sign('-')),
            Some(':') => (1, |_| Token::Mark(':')),
            Some('.') => (1, |_| Token::Mark('.')),
            Some('/') => (1, |_| Token::Mark('/')),
            _ => (0, |_| Token::End),
        };
        self.end = self.start + len;
        self.token = token(&rest[..len]);
    }

    /// What begins with the present token.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.start..]
    }

    /// The error that the present token cannot begin a time. A character that is no token is told twice.
    pub(super) fn unparsable(&self) -> Error {
        let rest = self.rest();
        match (self.token, rest.chars().next()) {
            (Token::End, Some(junk)) => Error::Unparsable(format!("{junk}{rest}")),
            _ => Error::Unparsable(rest.to_owned()),
        }
    }
}
