//! Plots as SVG text.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 40.0;
const COLOURS: [&str; 6] = [
    "#2a6fdb", "#d9622b", "#2b9a66", "#8a4fd0", "#b8860b", "#555555",
];

/// A named line through points.
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// One plot of lines over a common axis.
pub fn svg(title: &str, x_name: &str, y_name: &str, lines: &[Line]) -> String {
    let most = |of: fn(&(f64, f64)) -> f64| {
        let all = lines.iter().flat_map(|line| &line.points).map(of);
        round_up(all.fold(0.0, f64::max))
    };
    let (x_most, y_most) = (most(|point| point.0), most(|point| point.1));
    let x = |value: f64| LEFT + value / x_most * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / y_most * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n<text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n",
        escaped(title)
    );
    for step in 0..=4 {
        let (at_x, at_y) = (
            x_most * f64::from(step) / 4.0,
            y_most * f64::from(step) / 4.0,
        );
        let (px, py, right, low) = (x(at_x), y(at_y), WIDTH - RIGHT, HEIGHT - BOTTOM);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {py:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{px:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            LEFT - 6.0,
            py + 4.0,
            number(at_y),
            low + 16.0,
            number(at_x),
        );
    }
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let mut path = String::new();
        for (at, point) in line.points.iter().enumerate() {
            let _ = write!(
                path,
                "{}{:.1} {:.1}",
                if at == 0 { "M" } else { "L" },
                x(point.0),
                y(point.1)
            );
        }
        let _ = writeln!(
            svg,
            "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
        );
    }
    for (at, (line, colour)) in lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let (px, py) = (WIDTH - RIGHT - 6.0, TOP + 14.0 * at as f64 + 8.0);
        let _ = writeln!(
            svg,
            "<text x=\"{px}\" y=\"{py}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
            escaped(&line.name)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n</svg>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 8.0,
        escaped(x_name),
        (TOP + HEIGHT - BOTTOM) / 2.0,
        escaped(y_name),
    );
    svg
}

/// The next of 1, 2, 5, 10, 20, 50 …
fn round_up(value: f64) -> f64 {
    let mut step = 1e-3;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            if step * factor >= value {
                return step * factor;
            }
        }
        step *= 10.0;
    }
}

fn number(value: f64) -> String {
    if value >= 10.0 || value == value.trunc() {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_its_lines_and_names() {
        let lines = [Line {
            name: "a < b".into(),
            points: vec![(0.0, 0.0), (10.0, 3.0)],
        }];
        let svg = svg("title", "seconds", "copies", &lines);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert!(
            svg.contains("M64.0 260.0L704.0 124.4") && svg.contains("a &lt; b"),
            "{svg}"
        );
    }
}
