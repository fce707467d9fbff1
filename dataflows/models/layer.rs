//! A small multinomial logistic layer, fitted by Newton's method.
//!
//! In: rows of inputs with their class. Out: [`Layer`], probabilities of each class.
//!
//! # Meaning
//! The weights that make the classes most likely, less half the given weight (L2) times their squares. The result
//! is a pure function of the rows in their order; who calls sorts them.
//!
//! # Why this way
//! Forty weights: second derivatives fit into 20 kB, a dozen steps are exact, and there is no rate
//! of learning to choose. The usual form: Hastie, Tibshirani, Friedman, *The Elements of
//! Statistical Learning*, 4.4.

/// Most steps; it has mostly come to rest after eight.
const STEPS: usize = 25;
/// A step whose largest change is below this is the last.
const REST: f64 = 1e-7;

/// The fitted layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Classes.
    pub classes: usize,
    /// Inputs, without the constant.
    pub inputs: usize,
    /// Mean of each input where it was fitted.
    pub mean: Vec<f64>,
    /// One over its standard deviation there.
    pub scale: Vec<f64>,
    /// Per class: the constant, then a weight for each input.
    pub weights: Vec<f64>,
}

impl Layer {
    /// Fits. `rows`: inputs one after another, `inputs` of them a row; `class` of each row.
    pub fn fit(rows: &[f64], class: &[u8], inputs: usize, classes: usize, l2: f64) -> Layer {
        let n = class.len();
        let mut mean = vec![0.0; inputs];
        let mut scale = vec![0.0; inputs];
        for row in rows.chunks_exact(inputs) {
            row.iter().zip(&mut mean).for_each(|(x, it)| *it += x / n as f64);
        }
        for row in rows.chunks_exact(inputs) {
            for ((x, mean), it) in row.iter().zip(&mean).zip(&mut scale) {
                *it += (x - mean) * (x - mean) / n as f64;
            }
        }
        for it in &mut scale {
            *it = if *it > 1e-12 { 1.0 / it.sqrt() } else { 0.0 };
        }
        let wide = inputs + 1;
        let weights = vec![0.0; classes * wide];
        let mut layer = Layer { classes, inputs, mean, scale, weights };
        for _ in 0..STEPS {
            let largest = layer.step(rows, class, l2);
            if largest < REST {
                break;
            }
        }
        layer
    }

    /// One of Newton's steps; the largest change of a weight.
    fn step(&mut self, rows: &[f64], class: &[u8], l2: f64) -> f64 {
        let wide = self.inputs + 1;
        let all = self.classes * wide;
        let mut slope: Vec<f64> = self.weights.iter().map(|it| -l2 * it).collect();
        let mut bend = vec![0.0; all * all];
        for at in 0..all {
            bend[at * all + at] = l2;
        }
        let mut x = vec![1.0; wide];
        let mut p = vec![0.0; self.classes];
        for (row, &is) in rows.chunks_exact(self.inputs).zip(class) {
            self.scaled(row, &mut x[1..]);
            self.of_scaled(&x, &mut p);
            for a in 0..self.classes {
                let miss = f64::from(u8::from(a == usize::from(is))) - p[a];
                for i in 0..wide {
                    slope[a * wide + i] += miss * x[i];
                }
                for b in 0..=a {
                    let w = p[a] * (f64::from(u8::from(a == b)) - p[b]);
                    for i in 0..wide {
                        let wx = w * x[i];
                        let line = (a * wide + i) * all + b * wide;
                        bend[line..line + wide]
                            .iter_mut()
                            .zip(&x)
                            .for_each(|(it, x)| *it += wx * x);
                    }
                }
            }
        }
        for at in 0..all {
            for other in at + 1..all {
                bend[at * all + other] = bend[other * all + at];
            }
        }
        solve(&mut bend, &mut slope);
        self.weights.iter_mut().zip(&slope).for_each(|(it, by)| *it += by);
        slope.iter().fold(0.0, |most: f64, it| most.max(it.abs()))
    }

    fn scaled(&self, row: &[f64], into: &mut [f64]) {
        for (((x, mean), scale), it) in row.iter().zip(&self.mean).zip(&self.scale).zip(into) {
            *it = (x - mean) * scale;
        }
    }

    fn of_scaled(&self, x: &[f64], p: &mut [f64]) {
        let lines = self.weights.chunks_exact(self.inputs + 1);
        let mut most = f64::NEG_INFINITY;
        for (line, it) in lines.zip(p.iter_mut()) {
            *it = line.iter().zip(x).map(|(w, x)| w * x).sum();
            most = most.max(*it);
        }
        p.iter_mut().for_each(|it| *it = (*it - most).exp());
        let sum: f64 = p.iter().sum();
        p.iter_mut().for_each(|it| *it /= sum);
    }

    /// The probability of each class, into `p`.
    pub fn probabilities(&self, row: &[f64], p: &mut [f64]) {
        let mut x = [1.0; 64];
        self.scaled(row, &mut x[1..=self.inputs]);
        self.of_scaled(&x[..=self.inputs], p);
    }
}

/// Solves `a x = b` for a positive definite `a` (Cholesky); `b` becomes `x`.
fn solve(a: &mut [f64], b: &mut [f64]) {
    let n = b.len();
    for j in 0..n {
        for i in j..n {
            let mut sum = a[i * n + j];
            for k in 0..j {
                sum -= a[i * n + k] * a[j * n + k];
            }
            a[i * n + j] = if i == j { sum.max(1e-12).sqrt() } else { sum / a[j * n + j] };
        }
    }
    for i in 0..n {
        for k in 0..i {
            b[i] -= a[i * n + k] * b[k];
        }
        b[i] /= a[i * n + i];
    }
    for i in (0..n).rev() {
        for k in i + 1..n {
            b[i] -= a[k * n + i] * b[k];
        }
        b[i] /= a[i * n + i];
    }
}
