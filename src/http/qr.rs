//! QR codes, as SVG and for terminals: a link made at a desk is opened on a telephone.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// The code of a text, black on white with the margin that readers need; `None` when the text is too long for one.
pub(super) fn svg(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        let mut x = 0;
        while x < size {
            let from = x;
            while code.get_module(x, y) {
                x += 1;
            }
            if x > from {
                // Writing into a String cannot fail.
                let _ = write!(path, "M{from} {y}h{}v1h-{}z", x - from, x - from);
            }
            x += 1;
        }
    }
    let (least, side) = (-MARGIN, size + 2 * MARGIN);
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{least} {least} {side} {side}\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M{least} {least}h{side}v{side}h-{side}z\"/>\
         <path d=\"{path}\"/></svg>"
    ))
}

/// The code of a text for a terminal, two rows of modules in a line, black on white whatever the terminal's colours are;
/// `None` when the text is too long for one.
pub fn blocks(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let all = -MARGIN..code.size() + MARGIN;
    let mut lines = String::new();
    for y in all.clone().step_by(2) {
        let block = |x| match (code.get_module(x, y), code.get_module(x, y + 1)) {
            (false, false) => ' ',
            (true, false) => '▀',
            (false, true) => '▄',
            (true, true) => '█',
        };
        let line: String = all.clone().map(block).collect();
        // Writing into a String cannot fail.
        let _ = writeln!(lines, "  \x1b[30;107m{line}\x1b[0m");
    }
    Some(lines)
}

/// Modules of white on each side (ISO/IEC 18004 §5.3.8).
const MARGIN: i32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_modules_of_the_code_are_painted_and_no_others() {
        let text = "https://tribune.example/publish/talk#trb1.abc";

        let svg = svg(text).expect("short enough");

        let code = QrCode::encode_text(text, QrCodeEcc::Low).expect("short enough");
        let path = svg.rsplit_once("d=\"").expect("a path").1.split_once('"').expect("an end").0;
        let mut painted = std::collections::HashSet::new();
        for run in path.split('M').skip(1) {
            let (place, rest) = run.split_once('h').expect("a run");
            let (x, y) = place.split_once(' ').expect("a place");
            let length: i32 = rest.split_once('v').expect("a length").0.parse().expect("a number");
            let (x, y): (i32, i32) = (x.parse().expect("a number"), y.parse().expect("a number"));
            painted.extend((x..x + length).map(|x| (x, y)));
        }
        for y in 0..code.size() {
            for x in 0..code.size() {
                assert_eq!(painted.contains(&(x, y)), code.get_module(x, y), "{x} {y}");
            }
        }
    }

    #[test]
    fn a_terminal_shows_the_modules_of_the_code_and_no_others() {
        let text = "http://192.168.1.5:8080/watch/live";

        let blocks = blocks(text).expect("short enough");

        let code = QrCode::encode_text(text, QrCodeEcc::Low).expect("short enough");
        let lines: Vec<Vec<char>> = blocks
            .lines()
            .map(|line| {
                line.trim_start().trim_start_matches("\x1b[30;107m").trim_end_matches("\x1b[0m").chars().collect()
            })
            .collect();
        assert!(
            lines.len() >= 18 && lines.iter().all(|line| i32::try_from(line.len()) == Ok(code.size() + 2 * MARGIN))
        );
        for (row, line) in (-MARGIN..).step_by(2).zip(&lines) {
            for (x, block) in (-MARGIN..).zip(line) {
                assert_eq!("▀█".contains(*block), code.get_module(x, row), "{x} {row}");
                assert_eq!("▄█".contains(*block), code.get_module(x, row + 1), "{x} {row}");
            }
        }
    }

    #[test]
    fn a_novel_has_no_code() {
        assert_eq!(blocks(&"x".repeat(5_000)), None);
        assert_eq!(svg(&"x".repeat(5_000)), None);
    }
}
