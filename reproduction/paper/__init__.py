"""The paper's statements, Table 1 and figures beside what the experiments' tables hold."""
