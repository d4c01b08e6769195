//! A page as HTML for mail programs: tables and styles of their own elements only, nothing from the network, dark where
//! the reader's program asks for it.
//!
//! Much of a page was said by others: names of the settings, host names, routers. It becomes part of the document in one
//! place only, [`Document::words`], where it is escaped; markup must be of this program's own words.

use super::page::{Block, Page, Row, Side, Table, signature};
use crate::mail::NOT_HELD_UP;

/// The document for `page`, whose pictures are called what `content_id` says of their numbers.
pub(super) fn document(page: &Page, host: &str, content_id: &dyn Fn(usize) -> String) -> String {
    let mut document = Document(String::new());
    document.markup(HEAD);
    document.markup(match page.word {
        "OK" | "ONLINE" | "STEADY" => OPEN_GOOD,
        "DOWN" | "OFFLINE" | "STOPPED" | "CRASHED" => OPEN_BAD,
        _ => OPEN_WARNING,
    });
    document.words(page.word);
    document.markup(HEADLINE);
    document.words(&page.title());
    document.markup(BODY);
    page.blocks.iter().for_each(|block| document.block(block, content_id));
    document.markup(FOOT);
    // On a line of its own: it is replaced when the mail goes out late.
    document.markup("\n").markup(NOT_HELD_UP).markup("\n<br>\n");
    document.words(&signature(host));
    document.markup(END);
    document.0
}

/// HTML under construction.
struct Document(String);

impl Document {
    /// Appends markup, or words that need no escaping: this program's own.
    fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Appends words of anybody, between tags or in a quoted attribute. Controls, which no HTML may hold, are left out.
    fn words(&mut self, words: &str) -> &mut Self {
        for character in words.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // A line break could make a line that looks like the one that is replaced.
                character if character.is_control() => self.0.push(' '),
                character => self.0.push(character),
            }
        }
        self
    }

    fn block(&mut self, block: &Block, content_id: &dyn Fn(usize) -> String) {
        match block {
            Block::Facts(facts) => self.facts(facts),
            Block::Words(words) => {
                self.markup(PARAGRAPH).words(words).markup("</p>\n");
            }
            Block::Command { purpose, command } => {
                self.markup(PARAGRAPH).words(purpose).markup(":<br>\n").markup(CODE);
                self.words(command).markup("</span></p>\n");
            }
            Block::Table(table) => self.table(table),
            Block::Series { title, lines } => {
                self.title(title);
                self.markup(TABLE);
                for (name, values) in lines {
                    self.markup(NAME_CELL).words(name).markup("</td>").markup(NUMBERS_CELL);
                    self.words(&values.join(", ")).markup("</td></tr>\n");
                }
                self.markup("</table>\n");
            }
            Block::Picture { number, shows } => {
                self.markup(PICTURE_SOURCE).words(&content_id(*number)).markup(PICTURE_SHOWS);
                self.words(shows).markup(PICTURE_END);
            }
        }
    }

    fn facts(&mut self, facts: &[(&'static str, String)]) {
        self.markup(TABLE);
        for (name, value) in facts {
            self.markup(NAME_CELL).words(name).markup("</td>").markup(VALUE_CELL);
            self.words(value).markup("</td></tr>\n");
        }
        self.markup("</table>\n");
    }

    fn title(&mut self, title: &str) {
        self.markup(TITLE).words(title).markup("</p>\n");
    }

    fn table(&mut self, table: &Table) {
        self.title(&table.title);
        self.markup(TABLE);
        for Row { cells, note, is_marked } in &table.rows {
            self.markup(if *is_marked { MARKED_ROW } else { ROW });
            for (cell, side) in cells.iter().zip(&table.sides) {
                self.markup(if *side == Side::Right { RIGHT_CELL } else { LEFT_CELL });
                self.words(cell).markup("</td>");
            }
            self.markup("</tr>\n");
            if let Some(note) = note {
                self.markup(if *is_marked { MARKED_ROW } else { ROW });
                self.markup(NOTE_CELL).words(note).markup("</td></tr>\n");
            }
        }
        self.markup("</table>\n");
    }
}

/// What programs that read styles show at night; everything else is styled where it stands, for those that do not.
const HEAD: &str = r##"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>latmon</title>
<style>
@media (prefers-color-scheme: dark) {
  .page { background: #0d1014 !important; }
  .card { background: #171b21 !important; border-color: #2b323b !important; }
  .value { color: #e5e9ee !important; }
  .name { color: #96a0ac !important; }
  .code { background: #242a32 !important; color: #e5e9ee !important; }
  .marked { background: #4a3508 !important; }
  .picture { border-color: #2b323b !important; }
}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:#eef1f4;">
<table role="presentation" class="page" width="100%" cellpadding="0" cellspacing="0" border="0" style="background:#eef1f4;">
<tr><td align="center" style="padding:12px 6px;">
<table role="presentation" class="card" width="600" cellpadding="0" cellspacing="0" border="0" style="width:100%;max-width:600px;background:#ffffff;border:1px solid #d5dbe1;font-family:Helvetica,Arial,sans-serif;font-size:14px;line-height:1.4;">
"##;

/// The band on top, in the colour of what happened.
const OPEN_BAD: &str = r##"<tr><td bgcolor="#b3132b" style="background:#b3132b;color:#ffffff;padding:12px 16px;">
<span style="font-size:12px;font-weight:bold;letter-spacing:1px;">"##;
const OPEN_WARNING: &str = r##"<tr><td bgcolor="#8f5200" style="background:#8f5200;color:#ffffff;padding:12px 16px;">
<span style="font-size:12px;font-weight:bold;letter-spacing:1px;">"##;
const OPEN_GOOD: &str = r##"<tr><td bgcolor="#0b7a52" style="background:#0b7a52;color:#ffffff;padding:12px 16px;">
<span style="font-size:12px;font-weight:bold;letter-spacing:1px;">"##;
const HEADLINE: &str = r##"</span><br>
<span style="font-size:18px;font-weight:bold;line-height:1.3;word-break:break-word;">"##;
const BODY: &str = r##"</span>
</td></tr>
<tr><td style="padding:6px 16px 12px;">
"##;
const FOOT: &str = r##"<p class="name" style="margin:16px 0 0;color:#5f6874;font-size:12px;">"##;
const END: &str = "</p>\n</td></tr>\n</table>\n</td></tr>\n</table>\n</body>\n</html>\n";

const PARAGRAPH: &str = r##"<p class="value" style="margin:12px 0 0;color:#181d24;word-break:break-word;">"##;
const TITLE: &str =
    r##"<p class="value" style="margin:16px 0 2px;color:#181d24;font-weight:bold;word-break:break-word;">"##;
const CODE: &str = r##"<span class="code" style="display:inline-block;margin-top:4px;padding:4px 8px;background:#eef1f4;color:#181d24;font-family:Menlo,Consolas,monospace;font-size:13px;word-break:break-word;">"##;
const TABLE: &str = r##"<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="margin-top:6px;">
"##;
const NAME_CELL: &str = r##"<tr><td class="name" width="64" valign="top" style="width:64px;padding:3px 8px 3px 0;color:#5f6874;">"##;
const VALUE_CELL: &str =
    r##"<td class="value" valign="top" style="padding:3px 0;color:#181d24;word-break:break-word;">"##;
const NUMBERS_CELL: &str = r##"<td class="value" valign="top" style="padding:3px 0;color:#181d24;font-family:Menlo,Consolas,monospace;font-size:13px;">"##;
const ROW: &str = "<tr>";
const MARKED_ROW: &str = r##"<tr class="marked" bgcolor="#fff0cc" style="background:#fff0cc;">"##;
const LEFT_CELL: &str = r##"<td class="value" valign="top" style="padding:3px 8px 3px 4px;color:#181d24;word-break:break-word;">"##;
const RIGHT_CELL: &str = r##"<td class="value" valign="top" align="right" width="40" style="width:40px;padding:3px 8px 3px 4px;color:#181d24;white-space:nowrap;">"##;
const NOTE_CELL: &str = r##"<td></td><td class="name" colspan="9" style="padding:0 8px 4px 4px;color:#5f6874;font-size:12px;word-break:break-word;">"##;
const PICTURE_SOURCE: &str = r##"<img class="picture" src="cid:"##;
const PICTURE_SHOWS: &str = r##"" alt=""##;
const PICTURE_END: &str = r##"" width="566" style="display:block;width:100%;max-width:566px;height:auto;margin-top:12px;border:1px solid #d5dbe1;">
"##;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A page that says `words` wherever a page can say something.
    fn page(words: &str) -> Page {
        let row = Row { cells: vec![words.into(), words.into()], note: Some(words.into()), is_marked: true };
        let table = Table { title: words.into(), sides: vec![Side::Left, Side::Right], rows: vec![row] };
        Page {
            word: "DOWN",
            headline: words.into(),
            blocks: vec![
                Block::Facts(vec![("since", words.into())]),
                Block::Words(words.into()),
                Block::Command { purpose: words.into(), command: words.into() },
                Block::Table(table),
                Block::Series { title: words.into(), lines: vec![("loss", vec![words.into()])] },
                Block::Picture { number: 1, shows: words.into() },
            ],
        }
    }

    fn shown(words: &str) -> String {
        document(&page(words), words, &|number| number.to_string())
    }

    /// The places of the page above, one of them an attribute.
    const PLACES: usize = 13;

    proptest! {
        /// Whatever a name or a router says, the markup is that of a page of harmless words.
        #[test]
        fn no_words_become_markup(words in "(\\PC|[<>&\"'\r\n\t\u{0}\u{85}\u{2028}=/-]|<script>|</td>|\" onload=\"|<!--|&lt;|held up: no){0,20}") {
            let harmless = shown("harmless");
            let parts: Vec<&str> = harmless.split("harmless").collect();
            prop_assert_eq!(parts.len(), PLACES + 1);
            let shown = shown(&words);
            let mut rest = shown.as_str();
            let mut said = Vec::new();
            for (index, part) in parts.iter().enumerate() {
                let at = if index + 1 == parts.len() { rest.rfind(part) } else { rest.find(part) };
                let Some(at) = at else { return Err(TestCaseError::fail(format!("'{part}' is gone"))) };
                said.push(&rest[..at]);
                rest = &rest[at + part.len()..];
            }
            for said in &said[1..] {
                prop_assert!(!said.contains(['<', '>', '"', '\'', '\n', '\r']), "{}", said);
                prop_assert_eq!(*said, said_once(&words));
            }
        }
    }

    fn said_once(words: &str) -> String {
        let mut document = Document(String::new());
        document.words(words);
        document.0
    }

    #[test]
    fn it_fetches_nothing() {
        let shown = shown("words");
        for remote in ["http:", "https:", "url(", "<script", "<link", "@import", "src=\"//"] {
            assert!(!shown.contains(remote), "{remote}");
        }
        assert_eq!(shown.matches("src=").count(), 1, "the picture that comes with it");
        assert_eq!(shown.lines().filter(|line| *line == NOT_HELD_UP).count(), 1);
    }
}
