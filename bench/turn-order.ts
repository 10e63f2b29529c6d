/**
 * Places 0…n - 1 in the order of one round: each begins as often as another, and each comes after every other one equally often, in n
 * rounds where n is even and in 2 n where it is odd. What one leaves behind then falls on all alike (Williams 1949, Experimental
 * designs balanced for the estimation of residual effects of treatments).
 */
export function turnOrder(numPlaces: number, round: number): number[] {
  // 0, n - 1, 1, n - 2, …: neighbours are apart by every distance once.
  const zigzag = Array.from({ length: numPlaces }, (_, i) => (i % 2 === 0 ? i / 2 : numPlaces - (i + 1) / 2));
  const order = zigzag.map((place) => (place + round) % numPlaces);
  return Math.floor(round / numPlaces) % 2 === 0 ? order : order.reverse();
}
