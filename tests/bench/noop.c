/* The cheapest command there is: what remains of a file's cost is the agent's and the kernel's. */

int main(void) { return 0; }
